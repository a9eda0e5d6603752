"""A CPU without a sensor (a cloud VM, most often): CPU time and a power model.

Every window made of it is flagged ESTIMATED, and it is a ``fallback``: used only
where no sensor covers the CPU.

Model, a package: ``P(u) = idle + (max - idle) * (2u - u^1.4)``, where u is the
share of its CPU time that was busy. The curve is that of Fan, Weber and Barroso,
"Power Provisioning for a Warehouse-sized Computer" (ISCA 2007), fitted to
servers of Google: concave, since the first busy core wakes the most. Idle and
max are 0.74 W and 3.50 W a logical CPU, the means over the processors of a large
cloud that Cloud Carbon Footprint derives from SPECpower results (its
MIN_WATTS_AVG and MAX_WATTS_AVG for AWS). One machine may be off by a factor of
two; the operator who knows better sets both.

Busy is user, nice, system, irq and softirq time. Time stolen by the hypervisor
ran somebody else's work and is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from chipwatt.agent.sensing.contract import (
    Quantity,
    Reading,
    Sensor,
    SourceUnavailable,
    TransientReadError,
)
from chipwatt.agent.sensing.cpuinfo import read_cpuinfo
from chipwatt.agent.sensing.registry import source
from chipwatt.core.clock import NS_PER_MS, Clock, SystemClock
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import AbsentReason, DeviceKind, Domain, Flag, Interface
from chipwatt.core.records import Throttle

_IDLE_MW_PER_CPU = 740
_MAX_MW_PER_CPU = 3_500
_EXPONENT = 1.4
_STEP_NS = 100 * NS_PER_MS
"""Shortest stretch of CPU time that is turned into energy: the kernel counts it in 10 ms."""
_BUSY_COLUMNS = (0, 1, 2, 5, 6)  # user nice system irq softirq; 3, 4, 7 are idle iowait steal
_ALL_COLUMNS = 8  # what follows, guest time, is contained in user and nice


@dataclass(frozen=True, slots=True)
class EstimateConfig:
    """``[sources.estimate]``."""

    procfs: Path = Path("/proc")
    """Where procfs is mounted; containers and tests point elsewhere."""
    idle_w: float | None = None
    """Power of one processor package at rest. Not set: 0.74 W a logical CPU."""
    max_w: float | None = None
    """Power of one processor package with all its CPUs busy. Not set: 3.5 W a logical CPU."""

    def __post_init__(self) -> None:
        """Refuse a model that cannot be; raises ValueError."""
        for name in ("idle_w", "max_w"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 100_000:
                raise ValueError(f"{name} is in watts, 0 to 100000, got {value!r}")
        if self.idle_w is not None and self.max_w is not None and self.idle_w > self.max_w:
            raise ValueError("idle_w must not be larger than max_w")


CpuTimes = dict[int, tuple[int, int]]
"""(busy, all) ticks of each logical CPU since boot."""


@dataclass(slots=True)
class _Package:
    cpus: frozenset[int]
    idle_mw: int
    max_mw: int
    energy_pj: int = 0
    """Since open; 1 mW for 1 ns is 1 pJ."""

    def power_mw(self, busy: float) -> int:
        """Return the model's power where ``busy`` (0 to 1) of the CPU time is busy."""
        share: float = 2 * busy - busy**_EXPONENT
        return self.idle_mw + round((self.max_mw - self.idle_mw) * share)


@source("estimate", EstimateConfig)
class EstimateSource:
    """One modelled energy counter a processor package."""

    name: ClassVar[str] = "estimate"
    interface: ClassVar[Interface] = Interface.ESTIMATE
    library: ClassVar[bool] = False
    fallback: ClassVar[bool] = True

    def __init__(self, config: EstimateConfig) -> None:
        self._config = config
        self.clock: Clock = SystemClock()
        """Stamps the readings; whoever drives the sampler on another clock sets it before open."""
        self._packages: list[_Package] = []
        self._times: CpuTimes = {}
        self._since_ns = 0

    def open(self) -> Sequence[Sensor]:
        stat = self._config.procfs / "stat"
        try:
            times = _cpu_times(stat)
        except OSError as error:
            raise SourceUnavailable(
                AbsentReason.NOT_PRESENT, f"{stat} cannot be read: {error.strerror}"
            ) from None
        if not times:
            raise SourceUnavailable(AbsentReason.NOT_PRESENT, f"{stat} lists no CPU")
        info = read_cpuinfo(self._config.procfs)
        package_of_cpu = info.package_of_cpu if info else {}
        members: dict[int, set[int]] = {}
        for cpu in times:
            members.setdefault(package_of_cpu.get(cpu, 0), set()).add(cpu)
        self._packages = [self._package(frozenset(members[key])) for key in sorted(members)]
        self._times, self._since_ns = times, self.clock.mono_ns()
        label = info.model if info and info.model else "CPU"
        return [
            Sensor(
                device=DeviceId(DeviceKind.CPU, key),
                domain=Domain.PACKAGE,
                interface=Interface.ESTIMATE,
                quantity=Quantity.ENERGY_UJ,
                root=True,
                label=label,
                refresh_ns=_STEP_NS,
                # Steps are 100 ms or more, but a poll may see two of them close together.
                max_power_mw=max(4 * package.max_mw, 1000),
                flags=int(Flag.ESTIMATED),
            )
            for key, package in zip(sorted(members), self._packages, strict=True)
        ]

    def poll(self) -> Sequence[Reading]:
        now_ns = self.clock.mono_ns()
        if now_ns - self._since_ns >= _STEP_NS:
            self._advance(now_ns)
        return [
            Reading(position, now_ns, package.energy_pj // 1_000_000)
            for position, package in enumerate(self._packages)
        ]

    def throttle(self) -> Sequence[tuple[int, Throttle]]:
        return ()

    def close(self) -> None:
        self._packages = []

    def _advance(self, now_ns: int) -> None:
        stat = self._config.procfs / "stat"
        try:
            times = _cpu_times(stat)
        except OSError as error:
            raise TransientReadError(f"{stat}: {error.strerror}") from None
        for package in self._packages:
            busy = _busy_share(package.cpus, self._times, times)
            package.energy_pj += package.power_mw(busy) * (now_ns - self._since_ns)
        self._times, self._since_ns = times, now_ns

    def _package(self, cpus: frozenset[int]) -> _Package:
        config, count = self._config, len(cpus)
        idle_mw = _milliwatts(config.idle_w, _IDLE_MW_PER_CPU * count)
        max_mw = _milliwatts(config.max_w, _MAX_MW_PER_CPU * count)
        if config.max_w is None:
            max_mw = max(max_mw, idle_mw)
        return _Package(cpus, min(idle_mw, max_mw), max_mw)


def _milliwatts(watts: float | None, otherwise_mw: int) -> int:
    return otherwise_mw if watts is None else round(watts * 1000)


def _busy_share(cpus: frozenset[int], before: CpuTimes, after: CpuTimes) -> float:
    """Return the busy share of a package's CPU time; CPUs that went offline count as idle.

    Idle counters may step back a little (iowait is corrected), hence the bounds.
    """
    busy = total = 0
    for cpu in cpus & before.keys() & after.keys():
        (busy_0, total_0), (busy_1, total_1) = before[cpu], after[cpu]
        busy += max(0, busy_1 - busy_0)
        total += max(0, total_1 - total_0)
    return min(1.0, busy / total) if total else 0.0


def _cpu_times(stat: Path) -> CpuTimes:
    """Read the ``cpuN`` lines of ``/proc/stat`` (proc(5)). Raises OSError."""
    times: CpuTimes = {}
    with stat.open("rb") as file:
        for line in file:
            name, _, rest = line.partition(b" ")
            if not name.startswith(b"cpu"):
                break  # the lines of the CPUs come first
            if name[3:].isdigit():
                ticks = [int(field) for field in rest.split()[:_ALL_COLUMNS] if field.isdigit()]
                busy = sum(ticks[column] for column in _BUSY_COLUMNS if column < len(ticks))
                times[int(name[3:])] = (busy, sum(ticks))
    return times
