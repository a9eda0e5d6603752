from __future__ import annotations

import contextlib
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent import sensing_link as link
from chipwatt.agent.outbox import Outbox
from chipwatt.core.errors import InvalidPayload
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind
from chipwatt.core.workload import Binding, Holding

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
tables = st.dictionaries(st.text(), plain, max_size=3)
messages = st.one_of(
    st.builds(
        link.Start,
        sensing=tables,
        sources=st.dictionaries(st.text(), tables, max_size=2),
        memory=st.lists(tables, max_size=2),
        left_out=st.dictionaries(st.text(), st.text(), max_size=2),
        wary=st.lists(st.text(), max_size=2).map(tuple),
        one_by_one=st.booleans(),
    ),
    st.builds(link.Opening, name=st.text(), back=st.booleans()),
    st.builds(
        link.Devices,
        devices=st.lists(
            st.builds(DeviceId, st.sampled_from(DeviceKind), st.integers(0, 99))
            | st.builds(
                DeviceId, st.just(DeviceKind.GPU), st.just(0), st.integers(1 << 40, (1 << 128) - 1)
            ),
            max_size=3,
        ).map(tuple),
    ),
    st.builds(link.Anew, found=st.lists(st.text(), max_size=3).map(tuple)),
    st.builds(
        link.Bind,
        bindings=st.lists(
            st.builds(
                Binding,
                workload_id=st.binary(min_size=16, max_size=16).filter(any),
                class_id=st.binary(min_size=16, max_size=16),
                cgroup=st.sampled_from(("a.slice", "kubepods/b")),
                devices=st.sampled_from(
                    ((), (Holding(DeviceId(DeviceKind.GPU, 0, 9 << 90), 3, 7),))
                ),
            ),
            max_size=3,
        ).map(tuple),
    ),
    st.just(link.Stop()),
    st.builds(link.Payload, payload=st.binary(), memory=st.lists(tables, max_size=2)),
    st.just(link.Done()),
)


@given(st.lists(messages, max_size=4), st.data())
def test_messages_come_back_however_the_stream_is_cut(
    sent: list[link.Message], data: st.DataObject
) -> None:
    stream = b"".join(link.encode(message) for message in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = link.FrameReader()
    got: list[link.Message] = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += reader.feed(stream[begin:end])
    assert got == sent


@given(st.binary(max_size=64))
def test_rubbish_is_refused_or_awaits_more(rubbish: bytes) -> None:
    with contextlib.suppress(InvalidPayload):
        link.FrameReader().feed(rubbish)


def test_a_frame_that_is_too_long_is_refused_on_both_sides() -> None:
    with pytest.raises(InvalidPayload, match="at most"):
        link.encode(link.Payload(bytes(link.MAX_FRAME_BYTES)))
    with pytest.raises(InvalidPayload, match="at most"):
        link.FrameReader().feed(struct.pack("<IB", link.MAX_FRAME_BYTES + 1, link.Kind.PAYLOAD))


def test_a_payload_that_claims_more_than_its_frame_is_refused() -> None:
    frame = struct.pack("<IBI", 7, link.Kind.PAYLOAD, 3) + b"[]"
    with pytest.raises(InvalidPayload, match="payload of 3 bytes"):
        link.FrameReader().feed(frame)


def test_a_setting_that_json_does_not_know_is_refused() -> None:
    with pytest.raises(InvalidPayload, match="handed to the sensing process"):
        link.encode(link.Start({"window": object()}, {}))


def test_a_stalled_agent_never_blocks_and_loses_the_oldest_frames_alone() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        outbox = Outbox(ours, blocking=False, queue_bytes=100_000)
        sent = [link.Payload(bytes([n]) * 10_000) for n in range(200)]
        for message in sent:
            outbox.push(message)
        assert outbox.dropped > 0
        got = _read_everything(theirs, outbox)
    assert len(got) == len(sent) - outbox.dropped
    kept = [message.payload[0] for message in got if isinstance(message, link.Payload)]
    assert kept == sorted(kept)
    assert kept[-1] == 199  # the newest arrives, and the framing survived the loss


def test_an_agent_that_is_gone_is_told_by_an_error() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        with pytest.raises(BrokenPipeError):
            Outbox(ours, blocking=False).push(link.Done())


def test_drain_gives_up_on_an_agent_that_reads_nothing() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        outbox = Outbox(ours, blocking=False)
        for _ in range(8):
            outbox.push(link.Payload(bytes(500_000)))
        assert not outbox.drain(0.01)
        assert len(_read_everything(theirs, outbox)) == 8
        assert outbox.drain(0.01)


def _read_everything(theirs: socket.socket, outbox: Outbox) -> list[link.Message]:
    reader = link.FrameReader()
    got: list[link.Message] = []
    theirs.setblocking(False)
    while True:
        empty = outbox.flush()
        try:
            got += reader.feed(theirs.recv(1 << 20))
        except BlockingIOError:
            if empty:
                return got
