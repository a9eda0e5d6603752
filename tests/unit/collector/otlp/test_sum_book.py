"""Running sums go on where they stood: a restart changes nothing that is sent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.otlp.encode import Encoder
from chipwatt.collector.otlp.gaps import add_gaps_up, gaps_of
from chipwatt.collector.otlp.intervals import Intervals
from chipwatt.collector.otlp.sum_book import Place, SumBook
from chipwatt.core.errors import StoreError
from chipwatt.core.histogram import build
from chipwatt.core.records import DeviceWindow, Profile, Throttle
from fakes.device_windows import CPU, HOST_A, HOST_B, NS, T0_NS, Shelf, a_run, gap_block
from fakes.otlp_reader import points

MINUTE_NS = 60 * NS
BEFORE, AT = Place(3, 7, T0_NS), Place(9, 12, T0_NS + MINUTE_NS)
MINUTES = st.lists(
    st.tuples(st.lists(st.integers(1, 900_000), min_size=1, max_size=6), st.booleans()),
    min_size=1,
    max_size=6,
)


def windows_of(powers_mw: list[int], minute: int, base_uj: int) -> list[DeviceWindow]:
    """Return windows of 10 s with a histogram and throttled time."""
    run = a_run([mw * 10_000 for mw in powers_mw], base_uj=base_uj, at_s=60 * minute)
    return [
        replace(
            window,
            profile=Profile(mean_mw=mw, histogram=build(np.array([mw, 2 * mw]), np.array([9, 4]))),
            throttle=Throttle(power_ms=mw % 10_000),
            provenance=replace(window.provenance, expected=90, got=80),
        )
        for window, mw in zip(run, powers_mw, strict=True)
    ]


def sent(minutes: list[tuple[list[int], bool]], path: Path | None) -> list[bytes]:
    """Return what is sent; with a path by a new process wherever a minute says so."""
    shelf, encoder = Shelf(), Encoder(MINUTE_NS, version="1")
    found: list[bytes] = []
    base_uj = 10**12
    for minute, (powers_mw, is_restarted) in enumerate(minutes):
        closed_ns = T0_NS + (minute + 1) * MINUTE_NS
        intervals = Intervals(MINUTE_NS, done=len(shelf.blocks))
        host = HOST_B if len(powers_mw) % 2 else HOST_A
        windows = windows_of(powers_mw, minute, base_uj)
        intervals.add([shelf.put(windows, HOST_A), shelf.put(windows, host)])
        base_uj = windows[-1].cumulative_uj
        encoder.learn(shelf.hosts, {}, shelf.devices)
        gaps = add_gaps_up(gaps_of(gap_block(shelf, 60 * minute), MINUTE_NS))
        rows = intervals.close(closed_ns, ahead_unix_ns=closed_ns + 9 * MINUTE_NS)
        found += [request.data for request in encoder.requests(rows, closed_ns, gaps)]
        if path is not None and is_restarted:
            book = SumBook(path)
            book.keep(BEFORE, AT, encoder.state())
            kept = book.read(AT)
            assert kept is not None
            streams, encoder = encoder.streams, Encoder(MINUTE_NS, version="1")
            encoder.learn(shelf.hosts, {}, shelf.devices)
            encoder.restore(kept[1])
            encoder.streams = streams
    return found


@settings(deadline=None, max_examples=40)
@given(MINUTES)
def test_a_restart_changes_no_byte_of_what_is_sent(minutes: list[tuple[list[int], bool]]) -> None:
    with TemporaryDirectory() as folder:
        assert sent(minutes, Path(folder) / "x.sums") == sent(minutes, None)


STATE = {"sums": np.array([1, 2, 3])}


@pytest.mark.parametrize(
    "place",
    [BEFORE, AT, Place(BEFORE.done, AT.read, BEFORE.closed_unix_ns), AT._replace(done=BEFORE.done)],
)
def test_wherever_a_process_ended_the_place_is_that_of_the_sums(
    tmp_path: Path, place: Place
) -> None:
    book = SumBook(tmp_path / "otlp" / "x.sums")
    book.keep(BEFORE, AT, STATE)
    found = book.read(place)
    assert found is not None
    assert found[0] == AT
    assert found[1]["sums"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("place", [Place(4, 7, T0_NS), AT._replace(closed_unix_ns=0)])
def test_sums_of_another_store_are_left_alone(tmp_path: Path, place: Place) -> None:
    book = SumBook(tmp_path / "x.sums")
    assert book.read(place) is None
    book.keep(BEFORE, AT, STATE)
    assert book.read(place) is None


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_a_damaged_file_is_no_file(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.sums"
        SumBook(path).keep(BEFORE, AT, STATE)
        content = bytearray(path.read_bytes())
        if data.draw(st.booleans()):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        else:
            del content[data.draw(st.integers(0, len(content) - 1)) :]
        path.write_bytes(content)
        assert SumBook(path).read(AT) is None
        SumBook(path).keep(BEFORE, AT, STATE)
        assert SumBook(path).read(AT) is not None


def test_a_place_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        SumBook(tmp_path / "file" / "x").keep(BEFORE, AT, STATE)
    with pytest.raises(StoreError, match="cannot be read"):
        SumBook(tmp_path).read(AT)


@pytest.mark.parametrize("name", ["series", "running", "host_sums", "gap_keys", "interval_ns"])
def test_sums_that_lack_something_are_refused(name: str) -> None:
    state = Encoder(MINUTE_NS, version="1").state()
    del state[name]
    with pytest.raises(KeyError):
        Encoder(MINUTE_NS, version="1").restore(state)


def test_sums_of_another_version_are_refused() -> None:
    state = Encoder(MINUTE_NS, version="1").state() | {"running": np.zeros(0, "<i8")}
    with pytest.raises(ValueError, match="version"):
        Encoder(MINUTE_NS, version="1").restore(state)


def test_intervals_may_have_another_length_after_a_restart() -> None:
    """Else a host's power would wait for parts that it no longer has, by old numbers."""
    shelf, before = Shelf(), Encoder(NS, version="1")
    other = [replace(one, device=CPU) for one in windows_of([5] * 6, 0, 0)[-1:]]

    def told(encoder: Encoder, interval_ns: int, minute: int, *, both: bool) -> set[str]:
        intervals = Intervals(interval_ns, done=len(shelf.blocks))
        windows = windows_of([5] * 6, minute, 10**6 * minute)
        intervals.add([shelf.put([*windows, *(other if both else [])])])
        encoder.learn(shelf.hosts, {}, shelf.devices)
        closed_ns = T0_NS + (minute + 1) * MINUTE_NS
        rows = intervals.close(closed_ns, ahead_unix_ns=closed_ns)
        requests = [one.message for one in encoder.requests(rows, closed_ns)]
        return {point.metric for point in points(requests)}

    told(before, NS, 0, both=True)
    after = Encoder(MINUTE_NS, version="1")
    after.learn(shelf.hosts, {}, shelf.devices)
    after.restore(before.state())
    told(after, MINUTE_NS, 1, both=False)
    assert "hw.host.power" in told(after, MINUTE_NS, 2, both=False)
