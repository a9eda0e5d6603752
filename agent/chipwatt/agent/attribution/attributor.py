"""Seconds of chips in, minutes of workloads out: who held what when, and whose CPU time it was.

A binding counts from the first whole second after it was made, up to the last whole
second before it was undone. Nothing is done while nobody is bound.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from chipwatt.agent.attribution.alone import Alone
from chipwatt.agent.attribution.cpu_time import CpuTimes
from chipwatt.agent.attribution.split import Package, Part, by_cpu_time, by_holding
from chipwatt.agent.attribution.window_book import Share, WindowBook
from chipwatt.agent.profiler.grid import Span
from chipwatt.agent.profiler.host_second import ChipSecond
from chipwatt.core import coarse
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind
from chipwatt.core.records import WorkloadWindow
from chipwatt.core.workload import Binding

_MW_NS_PER_UJ: Final = 1_000_000
_NONE: Final = -1


@dataclass(slots=True)
class _Bound:
    """Bindings as they are looked up."""

    bindings: Sequence[Binding] = ()
    holders: dict[DeviceId, list[tuple[int, tuple[int, int]]]] = field(default_factory=dict)
    timed: list[int] = field(default_factory=list)
    """Which of them have a cgroup."""

    @classmethod
    def of(cls, bindings: Sequence[Binding]) -> _Bound:
        bound = cls(bindings)
        for number, binding in enumerate(bindings):
            for holding in binding.devices:
                share = (holding.parts, holding.of)
                bound.holders.setdefault(holding.device, []).append((number, share))
            if binding.cgroup:
                bound.timed.append(number)
        return bound

    def is_timed(self, device: DeviceId) -> bool:
        """Whether a chip is shared by CPU time."""
        return bool(self.timed) and device.kind is DeviceKind.CPU and device not in self.holders


class Attributor:
    """Splits what chips used among the workloads that are bound to them."""

    def __init__(
        self, mono_ns: Callable[[], int], cpu: CpuTimes | None = None, cpus: int = 0
    ) -> None:
        """Count CPU time with ``cpu``, on ``cpus`` CPUs; 0: as many as this machine has."""
        self._mono_ns = mono_ns
        self._cpu = cpu or CpuTimes()
        self._cpus = cpus or os.cpu_count() or 1
        self._book = WindowBook()
        self.alone = Alone()
        self._bound = _Bound()
        self._coming: deque[tuple[int, _Bound]] = deque()
        self._minute = _NONE
        self._floor_mw: dict[DeviceId, int] = {}
        self._finished: list[tuple[WorkloadWindow, ...]] = []
        self.is_wanted = False
        """Whether seconds of chips are to be given at all."""
        self.given_uj = self.idle_uj = 0
        """What workloads were given of the chips so far, and what nobody was."""

    def bind(self, mono_ns: int, bindings: Sequence[Binding]) -> None:
        """Let these be all bindings from ``mono_ns``, which is now, on."""
        self.alone.bind(bindings)
        self._coming.append((mono_ns, _Bound.of(tuple(bindings))))
        self._watch()
        self._cpu.read(mono_ns)
        self.is_wanted = self.is_wanted or bool(bindings)

    def look(self, mono_ns: int) -> None:
        """Read the CPU times of who has any, where that was a second ago."""
        if self.is_wanted and mono_ns - self._cpu.read_ns >= NS_PER_S:
            self._cpu.read(mono_ns)

    def second(
        self, span: Span, chips: Mapping[DeviceId, ChipSecond], limits_mw: Mapping[DeviceId, int]
    ) -> None:
        """Split one second; ``limits_mw`` are the limits of all chips of the host."""
        minute = span.start_unix_ns // coarse.WINDOW_NS
        is_new = self._minute != minute
        if is_new and self._minute != _NONE:  # the clock jumped out of the minute
            self._close_minute()
        while self._coming and self._coming[0][0] <= span.start_ns:
            self._bound = self._coming.popleft()[1]
            self._watch()
            is_new = True
        self._minute = minute
        if is_new:
            self._open(limits_mw)
        shares = self._shares(span, chips, limits_mw)
        by_id = {self._bound.bindings[number].workload_id: s for number, s in shares.items()}
        self.given_uj += sum(sum(share.cells_uj) for share in by_id.values())
        self._book.second(span.start_ns, span.length_ns, by_id, stepped=span.stepped)
        end_unix_ns = span.start_unix_ns + span.length_ns + NS_PER_S // 2
        if end_unix_ns // coarse.WINDOW_NS != minute:  # blocks end on whole seconds, nearly
            self._close_minute()
            self.is_wanted = bool(self._bound.bindings or self._coming)

    def take(self) -> list[tuple[WorkloadWindow, ...]]:
        """Hand out finished minutes, oldest first."""
        finished, self._finished = self._finished, []
        return finished

    @property
    def unsaid_uj(self) -> int:
        """What workloads were given and no window has said, once nobody is bound any more."""
        return self._book.unsaid_uj

    def close(self) -> None:
        """Give every file back."""
        self._cpu.close()

    def _close_minute(self) -> None:
        self._finished.append(self._book.close(self._minute * coarse.WINDOW_NS))
        self._minute = _NONE

    def _watch(self) -> None:
        """Read those who are bound and those who were when what comes next was measured."""
        bounds = [self._bound, *(bound for _, bound in self._coming)]
        cgroups = (binding.cgroup for bound in bounds for binding in bound.bindings)
        self._cpu.watch([cgroup for cgroup in cgroups if cgroup])

    def _open(self, limits_mw: Mapping[DeviceId, int]) -> None:
        cpus_mw = sum(mw for device, mw in limits_mw.items() if self._bound.is_timed(device))
        limits = {
            binding.workload_id: (cpus_mw if binding.cgroup else 0)
            + sum(
                limits_mw.get(holding.device, 0) * holding.parts // holding.of
                for holding in binding.devices
            )
            for binding in self._bound.bindings
        }
        self._book.open(self._bound.bindings, limits, sum(limits_mw.values()))

    def _shares(
        self, span: Span, chips: Mapping[DeviceId, ChipSecond], limits_mw: Mapping[DeviceId, int]
    ) -> dict[int, Share]:
        bound = self._bound
        shares = {
            number: Share([0] * span.cells, span.length_ns, is_modelled=False)
            for number in range(len(bound.bindings))
        }
        idle_uj = sum(
            chip.energy_uj for device, chip in chips.items() if device not in bound.holders
        )
        for device, holders in bound.holders.items():
            chip = chips.get(device) or ChipSecond()
            held = [share for _, share in holders]
            parts, left_uj = by_holding(chip.energy_uj, held)
            idle_uj += left_uj
            is_modelled = len(held) > 1 or held[0][0] < held[0][1]
            _give(shares, chip, [n for n, _ in holders], parts, is_modelled=is_modelled)
        timed = [device for device in chips if bound.is_timed(device)]
        times_ns, busy_ns = self._cpu_times(span) if timed else ([], 0)
        for device in timed:
            chip = chips[device]
            package = Package(
                span.length_ns,
                self._cpus * span.length_ns,
                busy_ns,
                self._floor(device, chip, span.length_ns),
                limits_mw.get(device, 0),
            )
            parts, left_uj = by_cpu_time(chip.energy_uj, package, times_ns)
            idle_uj -= chip.energy_uj - left_uj
            _give(shares, chip, bound.timed, parts, is_modelled=True)
        self.idle_uj += idle_uj
        return shares

    def _cpu_times(self, span: Span) -> tuple[list[int], int]:
        """Return the CPU time of each workload that has a cgroup, and of the machine."""
        if self._cpu.read_ns < span.end_ns:
            self._cpu.read(self._mono_ns())
        lines = [self._cpu.of(self._bound.bindings[number].cgroup) for number in self._bound.timed]
        times_ns = [line.between(span.start_ns, span.end_ns) for line in lines]
        return times_ns, self._cpu.of("").between(span.start_ns, span.end_ns)

    def _floor(self, device: DeviceId, chip: ChipSecond, length_ns: int) -> int:
        """Return the least power seen so far, this second included."""
        mean_mw = -(-chip.energy_uj * _MW_NS_PER_UJ // length_ns)
        if chip.covered_ns * 1_000_000 < coarse.LEAST_COVERAGE_PPM * length_ns:
            return self._floor_mw.get(device, mean_mw)
        floor_mw = self._floor_mw[device] = min(mean_mw, self._floor_mw.get(device, mean_mw))
        return floor_mw


def _give(
    shares: Mapping[int, Share],
    chip: ChipSecond,
    numbers: Sequence[int],
    parts: Sequence[Part],
    *,
    is_modelled: bool,
) -> None:
    """Add each workload's part to its cells, in the course that the chip's energy took."""
    sums_uj: list[int] = []
    for number, part in zip(numbers, parts, strict=True):
        share, before_uj = shares[number], 0
        share.covered_ns = min(share.covered_ns, max(0, chip.covered_ns))
        share.is_modelled |= is_modelled
        if not part.energy_uj:
            continue
        sums_uj = sums_uj or chip.cumulated_uj(len(share.cells_uj))
        for cell, sum_uj in enumerate(sums_uj):
            until_uj = part.energy_uj * sum_uj // chip.energy_uj
            share.cells_uj[cell] += until_uj - before_uj
            before_uj = until_uj
