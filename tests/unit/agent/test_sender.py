"""A record that no payload can hold is left out; everything else is sent, once."""

from __future__ import annotations

import logging
import socket
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.agent import sensing_link as link
from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.sender import Sender, memory_to_plain, remembered
from chipwatt.core import codec
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind
from chipwatt.core.records import DeviceWindow, Records, Throttle
from fakes.books import sensor

START_UNIX_NS = 1_750_000_000 * NS_PER_S
MS = NS_PER_MS


def finished() -> tuple[Reducer, Records]:
    """Return two seconds of one sensor in one batch."""
    reducer = Reducer([sensor(0)], mono_ns=0, unix_ns=START_UNIX_NS, window_ns=NS_PER_S)
    for now_ns in range(0, 4_000 * MS, 20 * MS):
        reducer.observe(0, now_ns, 10**6 + now_ns // 10_000)
        reducer.due(0)
    batches = reducer.finish(4_000 * MS)
    return reducer, Records(
        windows=tuple(window for batch in batches for window in batch.windows),
        host_seconds=tuple(second for batch in batches for second in batch.host_seconds),
    )


REDUCER, GOOD = finished()
PLAIN = GOOD.windows[0]
UNFIT = st.sampled_from(
    [
        replace(PLAIN, throttle=Throttle(limit_mw=(1 << 64) - 1)),
        replace(PLAIN, throttle=Throttle(limit_mw=-5)),
        replace(PLAIN, throttle=Throttle(power_ms=1 << 62)),
        replace(PLAIN, device=DeviceId(DeviceKind.CPU, 70_000)),
        replace(PLAIN, flags=1 << 40),
        replace(PLAIN, energy_uj="much"),  # type: ignore[arg-type]
    ]
)


def sent(records: Records) -> tuple[Sender, list[DeviceWindow], int]:
    """Send; return what arrived as windows, and how many host seconds."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = Sender(link.Outbox(ours, blocking=False), REDUCER, [])
        sender.send([records])
        ours.close()
        reader, messages = link.FrameReader(), []
        while data := theirs.recv(1 << 16):
            messages += reader.feed(data)
    payloads = [m.payload for m in messages if isinstance(m, link.Payload)]
    arrived = [codec.records_from_tables(codec.decode_tables(payload)) for payload in payloads]
    windows = [window for each in arrived for window in each.windows]
    return sender, windows, sum(len(each.host_seconds) for each in arrived)


def test_what_is_fit_goes_in_one_payload() -> None:
    sender, windows, seconds = sent(GOOD)
    assert tuple(windows) == GOOD.windows
    assert seconds == len(GOOD.host_seconds) > 0
    assert sender.left_out == 0


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), UNFIT), max_size=4))
def test_the_unfit_alone_are_left_out(unfit: list[tuple[int, DeviceWindow]]) -> None:
    windows = list(GOOD.windows)
    for place, window in unfit:
        windows.insert(place, window)
    sender, arrived, seconds = sent(replace(GOOD, windows=tuple(windows)))
    assert tuple(arrived) == GOOD.windows
    assert seconds == len(GOOD.host_seconds)
    assert sender.left_out == len(unfit)


def test_what_is_left_out_is_told(caplog: pytest.LogCaptureFixture) -> None:
    bad = replace(PLAIN, throttle=Throttle(limit_mw=(1 << 64) - 1))
    with caplog.at_level(logging.ERROR):
        sender, arrived, _ = sent(Records(windows=(bad,) * 3))
    assert (sender.left_out, arrived) == (3, [])
    (line,) = caplog.messages
    assert "cannot be sent, 1 so far: DEVICE_WINDOW.limit_mw" in line


def test_memory_in_doubt_stays_so_until_there_is_newer() -> None:
    entry = replace(REDUCER.memory()[0], in_doubt=True)
    assert remembered([memory_to_plain(entry)]) == [entry]
    plain = memory_to_plain(REDUCER.memory()[0])
    assert remembered([{**plain, "in_doubt": True}]) == [entry]
    assert "in_doubt" not in plain


def test_memory_that_cannot_be_read_is_forgotten_alone(caplog: pytest.LogCaptureFixture) -> None:
    good = [memory_to_plain(entry) for entry in REDUCER.memory()]
    assert good
    with caplog.at_level(logging.WARNING):
        memory = remembered([{"kind": "CPU"}, *good, {**good[0], "epoch": "soon"}])
    assert memory == list(REDUCER.memory())
    assert len(caplog.messages) == 2
