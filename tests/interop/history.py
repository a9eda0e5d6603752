"""Half an hour of two hosts whose every joule is known, in a real store.

``alpha`` has a GPU with a counter, whose power follows a known distribution, and a CPU whose
package holds a core domain and whose counter is reset after twelve minutes. ``beta`` has
a GPU without a counter, which is lost for a minute, and a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chipwatt.collector.store.config import StoreConfig
from chipwatt.collector.store.contract import BatchKey, HostRow, IncomingBatch
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.codec import encode_records, tables_from_records
from chipwatt.core.histogram import build
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import (
    DeviceKind,
    Domain,
    Flag,
    GapReason,
    Interface,
    Method,
    Statistic,
)
from chipwatt.core.records import DeviceWindow, Gap, Profile, Provenance, Records, Throttle
from chipwatt.core.tables import Array
from chipwatt.core.wire import digest

MINUTES = 30
WINDOW_S = 10
SAMPLE_MS = 100
LEAST_UJ = 5
ALPHA, BETA = bytes(range(16)), bytes(range(16, 32))
NAMES = {ALPHA: "alpha", BETA: "beta"}
GPU = DeviceId(DeviceKind.GPU, 0, 0x1234_5678_9ABC_DEF0_1122_3344_5566_7788)
OTHER_GPU = DeviceId(DeviceKind.GPU, 0, 0x99)
CPU = DeviceId(DeviceKind.CPU, 0)
DISTRIBUTED = f"{GPU}/board"
"""``hw.id`` of the component whose distribution is known."""
NESTED = f"{CPU}/core"


@dataclass(slots=True)
class Line:
    """A sensor and its counter as they stand."""

    host: bytes
    device: DeviceId
    domain: Domain
    method: Method = Method.COUNTER
    flags: Flag = Flag.ROOT
    cumulative_uj: int = 0
    epoch: int = 1

    @property
    def statistic(self) -> Statistic:
        return Statistic.ENERGY if self.method is Method.COUNTER else Statistic.INSTANT

    def begin_again(self) -> None:
        """Begin a new life of the counter."""
        self.epoch, self.cumulative_uj = self.epoch + 1, 0

    def window(self, start_ns: int, power_mw: Array) -> DeviceWindow:
        """Return a window whose samples of 100 ms had these powers."""
        energy_uj = int(power_mw.sum()) * SAMPLE_MS
        self.cumulative_uj += energy_uj
        interface = Interface.NVML if self.device.kind is DeviceKind.GPU else Interface.RAPL_PERF
        polls = len(power_mw)
        return DeviceWindow(
            device=self.device,
            domain=self.domain,
            statistic=self.statistic,
            start_unix_ns=start_ns,
            start_mono_ns=start_ns,
            duration_ns=WINDOW_S * NS_PER_S,
            epoch=self.epoch,
            energy_uj=energy_uj,
            cumulative_uj=self.cumulative_uj,
            profile=Profile(
                mean_mw=energy_uj // (WINDOW_S * 1000),
                min_mw=int(power_mw.min()),
                max_mw=int(power_mw.max()),
                peak_100ms_mw=int(power_mw.max()),
                histogram=build(power_mw, np.full(polls, SAMPLE_MS)),
            ),
            throttle=Throttle(limit_mw=700_000),
            provenance=Provenance(interface, self.method, polls, polls, coverage_ppm=1_000_000),
            flags=int(self.flags),
        )


@dataclass(frozen=True, slots=True)
class Silence:
    """A time of which a sensor's energy is not known."""

    line: Line
    reason: GapReason
    start_s: int
    lasts_s: int
    upper_uj: int

    def holds(self, at_s: int) -> bool:
        """Return whether a window that starts then is missing."""
        return self.start_s <= at_s < self.start_s + self.lasts_s

    def gap(self, start_unix_ns: int) -> Gap:
        """Return the record of it."""
        start_ns = start_unix_ns + self.start_s * NS_PER_S
        return Gap(
            device=self.line.device,
            domain=self.line.domain,
            statistic=self.line.statistic,
            start_unix_ns=start_ns,
            start_mono_ns=start_ns,
            duration_ns=self.lasts_s * NS_PER_S,
            lower_uj=LEAST_UJ,
            upper_uj=self.upper_uj,
            reason=self.reason,
        )


@dataclass(frozen=True, slots=True)
class History:
    """What was stored."""

    start_unix_ns: int
    stored_uj: int
    """Energy of all root domains, as the store's own books have it."""
    p99_w: float
    """Of the component ``DISTRIBUTED``: exceeded in 1 % of its samples."""
    gaps: dict[str, tuple[int, int]]
    """Bounds (µJ) by reason."""

    @property
    def end_unix_ns(self) -> int:
        return self.start_unix_ns + MINUTES * 60 * NS_PER_S


def write(folder: Path, start_unix_ns: int) -> History:
    """Make a store in ``folder`` whose history begins at a whole minute."""
    random = np.random.default_rng(6)
    lines = [
        Line(ALPHA, GPU, Domain.BOARD, cumulative_uj=10**12),
        Line(ALPHA, CPU, Domain.PACKAGE, cumulative_uj=3 * 10**9),
        Line(ALPHA, CPU, Domain.CORE, flags=Flag(0), cumulative_uj=10**9),
        Line(BETA, OTHER_GPU, Domain.BOARD, method=Method.INTEGRATED),
        Line(BETA, CPU, Domain.PACKAGE, cumulative_uj=7 * 10**10),
    ]
    silences = [
        Silence(lines[1], GapReason.COUNTER_RESET, 12 * 60, 20, 900_000_001),
        Silence(lines[3], GapReason.SENSOR_LOST, 20 * 60, 60, 42_000_000_007),
    ]
    samples: list[Array] = []
    store = SqliteStore(StoreConfig(path=folder))
    try:
        for host, name in NAMES.items():
            store.note_host(HostRow(host, name, start_unix_ns, start_unix_ns, 1000, 0))
        batches: list[IncomingBatch] = []
        for number in range(MINUTES * 60 // WINDOW_S):
            at_s = number * WINDOW_S
            start_ns = start_unix_ns + at_s * NS_PER_S
            over = [one for one in silences if one.start_s + one.lasts_s == at_s]
            for silence in over:
                silence.line.begin_again()
            silent = [one.line for one in silences if one.holds(at_s)]
            windows: dict[bytes, list[DeviceWindow]] = {ALPHA: [], BETA: []}
            for line in lines:
                power_mw = _power_mw(random, line)
                if line.device == GPU:
                    samples.append(power_mw)
                if line not in silent:
                    windows[line.host].append(line.window(start_ns, power_mw))
            for host, taken in windows.items():
                gaps = tuple(one.gap(start_unix_ns) for one in over if one.line.host == host)
                batches.append(_batch(host, number, Records(windows=tuple(taken), gaps=gaps)))
            if (at_s + WINDOW_S) % 60 == 0:
                store.commit(batches)
                batches = []
        stored_uj = store.totals().root_energy_uj
    finally:
        store.close()
    return History(
        start_unix_ns,
        stored_uj,
        float(np.quantile(np.concatenate(samples), 0.99, method="inverted_cdf")) / 1000,
        {one.reason.name.lower(): (LEAST_UJ, one.upper_uj) for one in silences},
    )


def _power_mw(random: np.random.Generator, line: Line) -> Array:
    """Return what a component drew, 100 ms a sample: a GPU works, and at times it peaks."""
    size = WINDOW_S * 1000 // SAMPLE_MS
    if line.device.kind is DeviceKind.CPU:
        return random.integers(40_000, 60_000, size)
    is_peak = random.random(size) < 0.03
    return np.where(
        is_peak,
        random.integers(600_000, 690_000, size),
        random.lognormal(np.log(300_000), 0.2, size).astype(np.int64),
    )


def _batch(host: bytes, number: int, records: Records) -> IncomingBatch:
    return IncomingBatch(
        key=BatchKey(host, bytes(16), 1, number),
        digest=digest(encode_records(records)),
        received_unix_ns=max(window.start_unix_ns for window in records.windows),
        tables=tables_from_records(records),
    )
