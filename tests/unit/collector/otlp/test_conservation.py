"""What arrives is what is stored, to the µJ, whatever comes late, twice begun or reset."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from chipwatt.collector.otlp.encode import Encoder
from chipwatt.collector.otlp.intervals import Intervals
from chipwatt.collector.otlp.stream_book import StreamBook
from chipwatt.core.histogram import build, merge
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind
from chipwatt.core.records import DeviceWindow, PowerHistogram, Profile, Throttle
from fakes.device_windows import GPU, HOST_A, HOST_B, NS, T0_NS, Shelf, a_run
from fakes.otlp_reader import points

MINUTE_NS = 60 * NS
END_NS = T0_NS + 1000 * MINUTE_NS
OTHER = DeviceId(DeviceKind.GPU, 0, 0x2234_5678_9ABC_DEF0_1122_3344_5566_7788)


@dataclass
class Export:
    """An export that can be stopped after a round and goes on as a new process."""

    shelf: Shelf
    book: StreamBook

    def __post_init__(self) -> None:
        self.intervals = Intervals(MINUTE_NS)
        self.requests: list[ExportMetricsServiceRequest] = []
        self.restart()

    def restart(self) -> None:
        old = self.intervals
        self.encoder = Encoder(MINUTE_NS, version="1")
        self.encoder.take_up(self.book.read())
        self.intervals = Intervals(
            MINUTE_NS, done=old.done, read=old.read, closed_unix_ns=old.closed_unix_ns
        )

    def round(self, closed_unix_ns: int, names: dict[bytes, str] | None = None) -> None:
        blocks = [b for b in self.shelf.blocks if b.position > self.intervals.read]
        self.intervals.add(blocks)
        # As the export does: what has closed never opens again.
        closed_unix_ns = max(closed_unix_ns, self.intervals.closed_unix_ns)
        rows = self.intervals.close(closed_unix_ns, ahead_unix_ns=END_NS)
        self.encoder.learn(self.shelf.hosts, names or {}, self.shelf.devices)
        self.requests += [r.message for r in self.encoder.requests(rows, closed_unix_ns)]
        self.book.keep(self.encoder.streams.began())


def increases_uj(requests: Iterable[ExportMetricsServiceRequest]) -> int:
    """What hw.energy rose by, over all series, as OTLP's data model has it: by stream."""
    streams: dict[tuple[object, ...], dict[int, int]] = defaultdict(dict)
    for point in points(requests):
        if point.metric == "hw.energy":
            key = (point.host, point.attributes, point.start_unix_ns)
            value_uj = round(Fraction(point.value) * 10**6)
            assert streams[key].setdefault(point.time_unix_ns, value_uj) == value_uj
    total_uj = 0
    for (*_, start_unix_ns), stream in streams.items():
        values = [stream[time] for time in sorted(stream)]
        assert values == sorted(values), "a monotonic sum fell"
        total_uj += values[-1] - stream[int(str(start_unix_ns))]
    return total_uj


ENERGIES = st.lists(st.integers(0, 10**11), min_size=1, max_size=25)
# 2^52 µJ are 4.5 GJ: below, a double tells µJ apart. A megawatt takes an hour for that.
LIVES = st.lists(st.tuples(st.integers(0, 10**14), ENERGIES), min_size=1, max_size=5)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(LIVES, min_size=1, max_size=3),
    st.lists(st.booleans(), min_size=1, max_size=6),
    st.integers(0, 1 << 32),
    st.sampled_from([0, 3, 30]),
)
def test_hw_energy_rises_by_exactly_what_is_stored(
    devices: list[list[tuple[int, list[int]]]],
    restarts: list[bool],
    seed: int,
    lateness: int,
) -> None:
    """Devices with resets, windows up to ``lateness`` places late, restarts between rounds."""
    dice = random.Random(seed)
    windows: list[tuple[bytes, DeviceWindow]] = []
    for number, lives in enumerate(devices):
        at_s = 0
        for epoch, (base_uj, energies_uj) in enumerate(lives, 1):
            device = DeviceId(DeviceKind.GPU, 0, (number + 1) << 64)
            run = a_run(energies_uj, base_uj=base_uj, at_s=at_s)
            host = HOST_A if number % 2 else HOST_B
            windows += [(host, replace(one, epoch=epoch, device=device)) for one in run]
            at_s += 10 * len(run) + dice.choice([0, 7, 90])
    windows.sort(key=lambda one: one[1].start_unix_ns + dice.randint(0, lateness) * 10 * NS)
    stored_uj = sum(one.energy_uj for _, one in windows)
    with TemporaryDirectory() as folder:
        export = Export(Shelf(), StreamBook(Path(folder) / "x.streams"))
        share = -(-len(windows) // len(restarts))
        for turn, is_restarted in enumerate(restarts):
            some = windows[turn * share : (turn + 1) * share]
            for host, one in some:
                export.shelf.put([one], host)
            if some:
                newest_ns = max(one.start_unix_ns for _, one in some)
                export.round(newest_ns // MINUTE_NS * MINUTE_NS)
            if is_restarted:
                export.restart()
        export.round(END_NS)
    assert export.intervals.done == len(windows)
    assert increases_uj(export.requests) == stored_uj


def test_a_start_outlives_restarts(tmp_path: Path) -> None:
    export = Export(Shelf(), StreamBook(tmp_path / "x.streams"))
    for minute in range(4):
        run = a_run([1_000_001] * 6, base_uj=5 * 10**8 + 6_000_006 * minute, at_s=60 * minute)
        export.shelf.put(run)
        export.round(T0_NS + (minute + 1) * MINUTE_NS)
        export.restart()
    energy = [p for p in points(export.requests) if p.metric == "hw.energy"]
    assert {p.start_unix_ns for p in energy} == {T0_NS}
    assert len([p for p in energy if p.time_unix_ns == T0_NS]) == 1, "opened once"
    assert increases_uj(export.requests) == 4 * 6_000_006


def test_a_device_that_is_replaced_and_a_host_that_is_renamed(tmp_path: Path) -> None:
    """The new chip is a series of its own; the name changes the resource and no sum."""
    export = Export(Shelf(), StreamBook(tmp_path / "x.streams"))
    export.shelf.put(a_run([10**6] * 6, base_uj=10**12))
    export.round(T0_NS + MINUTE_NS, {HOST_A: "old"})
    new = [replace(one, device=OTHER) for one in a_run([2 * 10**6] * 3, at_s=60)]
    export.shelf.put([*new, *a_run([10**6] * 2, base_uj=10**12 + 6 * 10**6, at_s=60)])
    export.round(T0_NS + 2 * MINUTE_NS, {HOST_A: "new"})
    assert increases_uj(export.requests) == 14 * 10**6
    assert {p.hw_id for p in points(export.requests) if p.metric == "hw.energy"} == {
        f"{GPU}/board",
        f"{OTHER}/board",
    }
    names = [
        {a.key: a.value.string_value for a in of.resource.attributes}
        for request in export.requests
        for of in request.resource_metrics
    ]
    assert [one["host.name"] for one in names] == ["old", "new"]
    assert {one["service.instance.id"] for one in names} == {HOST_A.hex()}


LEVELS = st.lists(st.tuples(st.integers(0, 800_000), st.integers(1, 5000)), min_size=1, max_size=20)


@settings(deadline=None, max_examples=60)
@given(st.lists(LEVELS, min_size=1, max_size=12), st.integers(1, 4))
def test_the_histogram_is_that_of_all_windows_together(
    levels: list[list[tuple[int, int]]], rounds: int
) -> None:
    """Count, zero bucket, scale and every bucket, as merging one by one has them."""
    shelf, expected = Shelf(), PowerHistogram()
    encoder = Encoder(MINUTE_NS, version="1")
    intervals = Intervals(MINUTE_NS)
    found: list[ExportMetricsServiceRequest] = []
    run = a_run([1] * len(levels))
    share = -(-len(run) // rounds)
    for at, (one, drawn) in enumerate(zip(run, levels, strict=True), 1):
        power_mw, time_ms = (np.array(column) for column in zip(*drawn, strict=True))
        made = build(power_mw, time_ms)
        expected = merge(expected, made)
        throttle = Throttle(None, at, None, None, None)
        shelf.put([replace(one, profile=Profile(mean_mw=1, histogram=made), throttle=throttle)])
        if at % share == 0 or at == len(run):
            intervals.add([b for b in shelf.blocks if b.position > intervals.read])
            encoder.learn(shelf.hosts, {}, shelf.devices)
            rows = intervals.close_all()
            found += [r.message for r in encoder.requests(rows, END_NS)]
    histograms = [
        point
        for request in found
        for of in request.resource_metrics
        for metric in of.scope_metrics[0].metrics
        for point in metric.exponential_histogram.data_points
    ]
    opening, last = histograms[0], histograms[-1]
    assert (opening.count, opening.time_unix_nano - opening.start_time_unix_nano) == (0, 10**6)
    assert len({point.start_time_unix_nano for point in histograms}) == 1
    times = [point.time_unix_nano for point in histograms]
    assert times == sorted(set(times))
    assert last.zero_count == expected.zero_ms
    assert last.count == expected.zero_ms + sum(expected.counts_ms)
    assert tuple(last.positive.bucket_counts) == expected.counts_ms
    if expected.counts_ms:
        assert (last.scale, last.positive.offset) == (expected.scale, expected.offset)
    throttled = [p.value for p in points(found) if p.metric == "chipwatt.throttle.time"]
    assert throttled[-1] == sum(range(len(levels) + 1)) / 1000
