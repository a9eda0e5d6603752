"""Sum over a host's root domains in one block.

Peaks are taken where the fast samples are: the power of all root domains of
a kind is added up in aligned 100 ms cells, and the largest cell is the peak
of the sum. A sensor too slow for such cells brings in the means that it can
tell apart, so its share of the peak is a smoothed one, and the record says
PEAK_BEYOND_SENSOR.

Energy in millijoules is the difference of rounded-down running sums, so that
sums over bins never drift. Energy of an interval in which a sensor was not
heard is in no bin; it is in that sensor's window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from chipwatt.agent.profiler.grid import Span
from chipwatt.agent.profiler.partial import CELL_NS, Floats, milliwatts
from chipwatt.agent.profiler.window import PARTIAL_PPM
from chipwatt.agent.sensing.contract import Sensor
from chipwatt.agent.timing import Timing
from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain, Flag
from chipwatt.core.records import HostSecond

KINDS: Final = ("cpu", "gpu", "memory", "other")
# Plain integers: operators of IntFlag cost as much as a small chore.
_CARRIED: Final = int(
    Flag.ESTIMATED | Flag.INTEGRATED | Flag.FILTERED | Flag.REPLAYED | Flag.RATE_REDUCED
)
_BEYOND: Final = int(Flag.PEAK_BEYOND_SENSOR)


def kind_of(sensor: Sensor) -> str:
    """Return which sum a root domain belongs to; memory of any device is memory."""
    if sensor.domain in {Domain.DRAM, Domain.MEMORY}:
        return "memory"
    kinds = {DeviceKind.CPU: "cpu", DeviceKind.GPU: "gpu", DeviceKind.MEMORY: "memory"}
    return kinds.get(sensor.device.kind, "other")


@dataclass(slots=True)
class ChipSecond:
    """What the root domains of one chip used in one block."""

    energy_uj: int = 0
    cells_uj: Floats | float = 0.0
    """Course of the energy, for its shape only; a number: evenly spread."""
    covered_ns: int = -1
    """Time in which all of them were seen; -1: none was heard of."""

    def hear(self, covered_ns: int) -> None:
        """Count in how long one of its domains was seen."""
        least_ns = covered_ns if self.covered_ns < 0 else min(self.covered_ns, covered_ns)
        self.covered_ns = least_ns

    def cumulated_uj(self, cells: int) -> list[int]:
        """Return the energy up to the end of each cell, in whole µJ; the last is all of it."""
        total_uj = float(np.sum(self.cells_uj))
        if isinstance(self.cells_uj, float) or len(self.cells_uj) != cells or total_uj <= 0:
            return [self.energy_uj * number // cells for number in range(1, cells + 1)]
        course = np.cumsum(self.cells_uj) * (self.energy_uj / total_uj)
        sums = np.clip(np.rint(course), 0, self.energy_uj).astype(np.int64).tolist()
        return [*sums[:-1], self.energy_uj]


class Bin:
    """One block's sums, filled sensor by sensor."""

    def __init__(self, span: Span, *, by_chip: bool = False) -> None:
        """Keep what each chip used as well, if wanted."""
        self.span = span
        self.chips: dict[DeviceId, ChipSecond] | None = {} if by_chip else None
        self.energy_uj = dict.fromkeys(KINDS, 0)
        self.heard = 0
        self.flags = int(Flag.CLOCK_STEPPED) if span.stepped else 0
        self._cells: dict[str, Floats] = {}
        self._count = span.cells

    def add(
        self,
        device: DeviceId,
        kind: str,
        energy_uj: int,
        cells_uj: Floats | None,
        timing: Timing,
    ) -> None:
        """Add a piece of a root domain; without cells its energy is spread evenly."""
        self.energy_uj[kind] += energy_uj
        cells = energy_uj / self._count if cells_uj is None else cells_uj
        self._cells[kind] = self._cells.get(kind, np.zeros(self._count)) + cells
        if not timing.resolves(CELL_NS):
            self.flags |= _BEYOND
        if self.chips is not None:
            chip = self.chips.setdefault(device, ChipSecond())
            chip.energy_uj += energy_uj
            chip.cells_uj = chip.cells_uj + cells

    def hear(self, device: DeviceId, covered_ns: int, flags: int) -> None:
        """Count a root domain as heard if it was seen (nearly) throughout."""
        if self.chips is not None:
            self.chips.setdefault(device, ChipSecond()).hear(covered_ns)
        if covered_ns * 1_000_000 >= PARTIAL_PPM * self.span.length_ns:
            self.heard += 1
        self.flags |= flags & _CARRIED

    @property
    def empty(self) -> bool:
        """Whether nothing at all was seen."""
        return not self._cells

    def peak_mw(self, kind: str | None) -> int | None:
        """Return the largest cell of a kind's sum, of everything's where None."""
        cells = [c for name, c in self._cells.items() if kind in {None, name}]
        if not cells:
            return None
        cell_ms = self.span.length_ns / self._count / NS_PER_MS
        return milliwatts(np.sum(cells, axis=0).max() / cell_ms)


class HostSeconds:
    """Turns bins into records, one after the other."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._total_uj = dict.fromkeys(KINDS, 0)

    def close(self, filled: Bin) -> HostSecond:
        """Return the record of a bin; bins come in order."""
        energy_mj: dict[str, int] = {}
        for kind in KINDS:
            before_mj = self._total_uj[kind] // 1000
            self._total_uj[kind] += filled.energy_uj[kind]
            energy_mj[kind] = self._total_uj[kind] // 1000 - before_mj
        span = filled.span
        flags = filled.flags
        if filled.heard < self._expected:
            flags |= Flag.PARTIAL
        return HostSecond(
            start_unix_ns=span.unix_ns(span.start_ns),
            start_mono_ns=span.start_ns,
            duration_ns=span.length_ns,
            cpu_mj=energy_mj["cpu"],
            gpu_mj=energy_mj["gpu"],
            memory_mj=energy_mj["memory"],
            other_mj=energy_mj["other"],
            cpu_peak_mw=filled.peak_mw("cpu"),
            gpu_peak_mw=filled.peak_mw("gpu"),
            memory_peak_mw=filled.peak_mw("memory"),
            other_peak_mw=filled.peak_mw("other"),
            total_peak_mw=filled.peak_mw(None),
            heard=filled.heard,
            expected=self._expected,
            flags=int(flags),
        )
