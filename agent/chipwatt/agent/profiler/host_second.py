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

from typing import Final

import numpy as np

from chipwatt.agent.profiler.grid import Span
from chipwatt.agent.profiler.partial import CELL_NS, Floats, milliwatts
from chipwatt.agent.profiler.window import PARTIAL_PPM
from chipwatt.agent.sensing.contract import Sensor
from chipwatt.agent.timing import Timing
from chipwatt.core.clock import NS_PER_MS
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


class Bin:
    """One block's sums, filled sensor by sensor."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self.energy_uj = dict.fromkeys(KINDS, 0)
        self.heard = 0
        self.flags = int(Flag.CLOCK_STEPPED) if span.stepped else 0
        self._cells: dict[str, Floats] = {}
        self._count = max(1, round(span.length_ns / CELL_NS))

    def add(self, kind: str, energy_uj: int, cells_uj: Floats | None, timing: Timing) -> None:
        """Add a piece of a root domain; without cells its energy is spread evenly."""
        self.energy_uj[kind] += energy_uj
        cells = energy_uj / self._count if cells_uj is None else cells_uj
        self._cells[kind] = self._cells.get(kind, np.zeros(self._count)) + cells
        if not timing.resolves(CELL_NS):
            self.flags |= _BEYOND

    def hear(self, covered_ns: int, flags: int) -> None:
        """Count a root domain as heard if it was seen (nearly) throughout."""
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
