"""CPU energy through the ``power`` perf PMU: all domains of a package in one read.

Facts from ``arch/x86/events/rapl.c`` and ``Documentation/ABI``: the PMU lists its
events under ``/sys/bus/event_source/devices/power``; a count times the event's
``.scale`` is joules (2^-32 whatever the register's unit is); ``cpumask`` names
one CPU a package, or one a die. The kernel widens the 32-bit registers to 64
bits itself, so these counters never wrap; they start at 0 when opened.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, TypeVar

from chipwatt.agent.sensing.contract import (
    Quantity,
    Reading,
    Sensor,
    SourceUnavailable,
    TransientReadError,
)
from chipwatt.agent.sensing.perf_event import PerfGroup
from chipwatt.agent.sensing.registry import source
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import AbsentReason, DeviceKind, Domain, Interface
from chipwatt.core.records import Throttle

_DOMAINS = {
    "energy-pkg": Domain.PACKAGE,
    "energy-ram": Domain.DRAM,
    "energy-cores": Domain.CORE,
    "energy-gpu": Domain.UNCORE,
    "energy-psys": Domain.PSYS,
}
_ROOTS = (Domain.PACKAGE, Domain.DRAM)
_REFRESH_NS = 1_000_000
_PREEMPTED_NS = 200_000
"""A read takes microseconds; after this long another process ran between value and stamp."""
_LEAST_SCALE_J, _MOST_SCALE_J = 1e-15, 1e-3
_LONGEST_SCALE = 60
_MOST_CPUS = 65_535
_Value = TypeVar("_Value")
_RESOLUTION_UJ = 61  # 2^-14 J, the register's usual step


@dataclass(frozen=True, slots=True)
class RaplPerfConfig:
    """``[sources.rapl_perf]``."""

    sysfs: Path = Path("/sys")
    """Where sysfs is mounted."""
    max_package_power_w: int = 1000
    """Above this a change of a package's counter is impossible."""


@dataclass(frozen=True, slots=True)
class _Event:
    domain: Domain
    config: int
    microjoules: Fraction


@source("rapl_perf", RaplPerfConfig)
class RaplPerfSource:
    """One group of events a package."""

    name: ClassVar[str] = "rapl_perf"
    interface: ClassVar[Interface] = Interface.RAPL_PERF
    library: ClassVar[bool] = False
    fallback: ClassVar[bool] = False

    def __init__(self, config: RaplPerfConfig) -> None:
        self._config = config
        self._pmu = config.sysfs / "bus/event_source/devices/power"
        self._groups: list[PerfGroup] = []
        self._factors: list[list[tuple[int, int]]] = []

    def open(self) -> Sequence[Sensor]:
        if not self._pmu.is_dir():
            raise SourceUnavailable(
                AbsentReason.NOT_PRESENT,
                f"{self._pmu} does not exist: this CPU or kernel has no energy PMU "
                "(module intel_rapl_perf, or a virtual machine)",
            )
        pmu_type = _parsed(self._pmu / "type", _pmu_type, "the number of the PMU, such as 12")
        events = self._events()
        if not events:
            raise SourceUnavailable(
                AbsentReason.NOT_PRESENT, f"{self._pmu}/events lists no energy event"
            )
        cpus = _parsed(self._pmu / "cpumask", _cpu_list, "one CPU a package, such as 0,18")
        sensors: list[Sensor] = []
        try:
            for cpu, ordinal in zip(cpus, self._ordinals(cpus), strict=True):
                group = PerfGroup(pmu_type, [event.config for event in events], cpu)
                self._groups.append(group)
                self._factors.append(
                    [(e.microjoules.numerator, e.microjoules.denominator) for e in events]
                )
                sensors += [self._sensor(ordinal, cpu, event, events) for event in events]
        except OSError as error:
            self.close()
            raise _unavailable(error) from None
        return sensors

    def poll(self) -> Sequence[Reading]:
        readings: list[Reading] = []
        position = 0
        try:
            for group, factors in zip(self._groups, self._factors, strict=True):
                before_ns = time.monotonic_ns()
                counts = group.read()
                now_ns = time.monotonic_ns()
                if now_ns - before_ns > _PREEMPTED_NS:
                    counts = group.read()
                    now_ns = time.monotonic_ns()
                for count, (numerator, denominator) in zip(counts, factors, strict=True):
                    energy_uj = count * numerator // denominator
                    readings.append(Reading(position, now_ns, energy_uj))
                    position += 1
        except OSError as error:
            raise TransientReadError(f"reading the energy PMU: {error.strerror}") from None
        return readings

    def throttle(self) -> Sequence[tuple[int, Throttle]]:
        return ()

    def close(self) -> None:
        while self._groups:
            self._groups.pop().close()
        self._factors.clear()

    def _events(self) -> list[_Event]:
        events = []
        for name, domain in _DOMAINS.items():
            path = self._pmu / "events" / name
            if path.exists():
                scale_path = path.with_name(f"{name}.scale")
                scale = _parsed(scale_path, _scale, "joules a count, such as 2.3283e-10")
                config = _parsed(path, _event_config, "event=, such as event=0x02")
                events.append(_Event(domain, config, scale * 1_000_000))
        return events

    def _sensor(self, ordinal: int, cpu: int, event: _Event, events: Sequence[_Event]) -> Sensor:
        inner = any(other.domain in _ROOTS for other in events)
        return Sensor(
            device=DeviceId(DeviceKind.CPU, ordinal),
            domain=event.domain,
            interface=self.interface,
            quantity=Quantity.ENERGY_UJ,
            root=event.domain in _ROOTS or (event.domain is Domain.PSYS and not inner),
            label=f"{event.domain.name.lower()} of CPU {cpu}",
            resolution_uj=_RESOLUTION_UJ,
            refresh_ns=_REFRESH_NS,
            max_power_mw=self._config.max_package_power_w * 1000,
        )

    def _ordinals(self, cpus: Sequence[int]) -> Sequence[int]:
        """Return the kernel's package numbers, or positions where a package has several dies."""
        packages = []
        for cpu in cpus:
            topology = self._config.sysfs / f"devices/system/cpu/cpu{cpu}/topology"
            try:
                packages.append(int((topology / "physical_package_id").read_text()))
            except (OSError, ValueError):
                return range(len(cpus))
        told = len(set(packages)) == len(packages) and all(0 <= n <= _MOST_CPUS for n in packages)
        return packages if told else range(len(cpus))


def _parsed(path: Path, parse: Callable[[str], _Value], right: str) -> _Value:
    """Read one file of the PMU; raises SourceUnavailable that names it and what is ``right``."""
    try:
        return parse(path.read_text(errors="replace").strip())
    except OSError as error:
        found = f"cannot be read ({error.strerror})"
    except (ValueError, ZeroDivisionError, OverflowError):
        found = f"shows {path.read_text(errors='replace').strip()!r:.40}"
    raise SourceUnavailable(
        AbsentReason.LIBRARY_FAILED,
        f"{path} {found}, where the kernel writes {right}: a driver or a bind mount is in the way; "
        "sensing.sources without rapl_perf leaves it out",
    )


def _pmu_type(text: str) -> int:
    if not 0 <= int(text) < 1 << 31:
        raise ValueError(text)
    return int(text)


def _event_config(text: str) -> int:
    terms = dict(term.partition("=")[::2] for term in text.split(","))
    config = int(terms.get("event", ""), 0)
    if not 0 <= config < 1 << 64:
        raise ValueError(text)
    return config


def _scale(text: str) -> Fraction:
    # nan is in no range; a long text or exponent would take for ever as a fraction
    if len(text) > _LONGEST_SCALE or not _LEAST_SCALE_J <= float(text) <= _MOST_SCALE_J:
        raise ValueError(text)
    return Fraction(text)


def _cpu_list(text: str) -> list[int]:
    """Read ``0,18`` or ``0-3``, the kernel's CPU list format."""
    cpus: list[int] = []
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            least, most = int(first), int(last or first)
            if not 0 <= least <= most <= _MOST_CPUS:
                raise ValueError(text)
            cpus.extend(range(least, most + 1))
    if not cpus:
        raise ValueError(text)
    return cpus


def _unavailable(error: OSError) -> SourceUnavailable:
    if error.errno in (errno.EACCES, errno.EPERM):
        return SourceUnavailable(
            AbsentReason.PERMISSION_DENIED,
            "the kernel refuses system-wide perf events: give the sensing process CAP_PERFMON "
            "(AmbientCapabilities=CAP_PERFMON in its unit), or set kernel.perf_event_paranoid=-1",
        )
    return SourceUnavailable(
        AbsentReason.NOT_PRESENT, f"the energy PMU cannot be opened: {error.strerror}"
    )
