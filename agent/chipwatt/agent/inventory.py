"""Finds out what this host can be measured with: which sources open, and why others do not.

Where several interfaces see the same domain of the same device, one is read:
the first of ``PREFERENCE``. It may have several sensors for it (a counter, an
instantaneous gauge, an averaged one): all are read, but only one is added up,
the counter where there is one, then the instantaneous gauge. A source that we
do not know was installed by the site on purpose, so it comes before ours. A
source with ``fallback = True`` (a model of a chip) is used only for kinds of
device that nothing else covers.

A module or platform sensor is added up only where no interface reports
anything inside it: a superchip's module power would count its GPU and CPU
twice. But where a module is known to contain a GPU that does not report for itself,
its power is the only one that holds the GPU's: then the module is added up and
what it contains is not, a CPU's own sensor or model included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from chipwatt.agent.admission import admit_all
from chipwatt.agent.library_worker import LibraryWorker
from chipwatt.agent.sensing.contract import Sensor, Source, SourceUnavailable
from chipwatt.agent.sensing.registry import Registered
from chipwatt.core.clock import Clock, SystemClock
from chipwatt.core.errors import TraceError
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import AbsentReason, DeviceKind, Domain, Interface, Statistic
from chipwatt.core.records import AbsentInterface

PREFERENCE = (
    "rapl_powercap",  # its counters outlive the agent: a restart loses no joule
    "rapl_perf",  # one cheap call a package, but it counts from the agent's start
    "hsmp",
    "pyrapl",  # the same files as rapl_powercap, read at ten times the cost
    "nvml",
    "amdsmi",
    "hwmon",  # gauges where the vendor's library has counters
)
OPEN_TIMEOUT_S = 10.0
"""A driver that has to load first may take seconds to answer the first call."""
REPLAY = "replay"
_Place = tuple[DeviceId, Domain]
_OUTER = (Domain.MODULE, Domain.PSYS)


@dataclass(frozen=True, slots=True)
class Opened:
    """A source that is open, and which of its sensors are used."""

    name: str
    source: Source
    sensors: tuple[Sensor, ...]
    """All that it has, in its own order."""
    kept: tuple[int, ...]
    """Positions in ``sensors`` of those in use; of those that can be used, before the choice."""
    make: Callable[[], Source]
    """Makes the source anew, for the time after it broke."""
    worker: LibraryWorker | None
    """The thread that owns it, for a source that enters a vendor library."""

    def close(self, timeout_s: float = 1.0) -> None:
        """Give the source back; a library that hangs is left alone after ``timeout_s``."""
        if self.worker is None:
            self.source.close()
        else:
            self.worker.close(timeout_s)


@dataclass(frozen=True, slots=True)
class Absence:
    """A source that gives nothing here, and why."""

    name: str
    interface: Interface
    reason: AbsentReason
    detail: str
    """Words for the person at this host, with what to do; they are not sent."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything that was found."""

    opened: tuple[Opened, ...]
    absent: tuple[Absence, ...]

    def sensors(self) -> list[Sensor]:
        """Return the sensors in use; their positions here are those of the reducer."""
        return [each.sensors[local] for each in self.opened for local in each.kept]

    def absent_interfaces(self) -> tuple[AbsentInterface, ...]:
        """Return what is told to the collector: interfaces that gave nothing at all, once each."""
        used = {each.source.interface for each in self.opened}
        reasons: dict[Interface, AbsentReason] = {}
        for absence in self.absent:
            reasons.setdefault(absence.interface, absence.reason)
        return tuple(
            AbsentInterface(interface, reason)
            for interface, reason in reasons.items()
            if interface not in used
        )

    def close(self) -> None:
        """Close every source."""
        for each in self.opened:
            each.close()


def open_inventory(
    registry: Mapping[str, Registered],
    configs: Mapping[str, Any],
    enabled: Sequence[str] = (),
    clock: Clock | None = None,
    open_timeout_s: float = OPEN_TIMEOUT_S,
) -> Inventory:
    """Open every enabled source (all, where ``enabled`` is empty) and choose among its sensors.

    A source's fault is never raised: it becomes an ``Absence``. A replay with a
    file set keeps every other source closed, and raises TraceError where that
    file cannot be read.
    """
    clock = clock or SystemClock()
    replaying = bool(getattr(configs.get(REPLAY), "file", None))
    opening: list[_Opening] = []
    absent: list[Absence] = []
    for name in sorted(registry, key=_rank):
        make = partial(registry[name].make, configs[name])
        if replaying and name != REPLAY:
            reason, detail = AbsentReason.NOT_NEEDED, "a recorded trace is replayed instead"
        elif enabled and name not in enabled and not (replaying and name == REPLAY):
            reason = AbsentReason.DISABLED
            detail = f"switched off: add {name!r} to sensing.sources to use it"
        else:
            opening.append(_Opening(name, make, clock))
            continue
        absent.append(Absence(name, _interface(make), reason, detail))
    # Libraries open in their own threads, all at once; only then is any waited for.
    opened: list[Opened] = []
    for each in opening:
        result = each.result(open_timeout_s)
        if isinstance(result, Absence):
            absent.append(result)
        else:
            opened.append(result)
    return _choose(opened, absent)


class _Opening:
    """A source on its way to being open."""

    def __init__(self, name: str, make: Callable[[], Source], clock: Clock) -> None:
        self._name = name
        self._make = make
        self._clock = clock
        self._worker: LibraryWorker | None = None
        self._error: Exception | None = None
        try:
            self._source = make()
            if self._source.library:
                self._worker = LibraryWorker(self._source, clock)
        except Exception as error:  # noqa: BLE001 - a source may come from anywhere; it alone is out
            self._error = error

    def result(self, timeout_s: float) -> Opened | Absence:
        if self._error is not None:
            return self._failed(self._error)
        try:
            sensors = self._worker.opened(timeout_s) if self._worker else self._source.open()
            admitted, usable = admit_all(self._name, sensors or ())
        except TraceError:
            raise  # a person asked for this very trace
        except Exception as error:  # noqa: BLE001 - as above
            return self._failed(error)
        if sensors is None:
            detail = f"the library did not answer within {timeout_s:.0f} s: is its driver well?"
            return self._absent(AbsentReason.LIBRARY_FAILED, detail)
        if not sensors:
            return self._absent(AbsentReason.NOT_PRESENT, "no sensor was found")
        if not usable:
            detail = "none of its sensors names a device that can be: see the log"
            return self._absent(AbsentReason.LIBRARY_FAILED, detail)
        return Opened(self._name, self._source, admitted, usable, self._make, self._worker)

    def _failed(self, error: Exception) -> Absence:
        if isinstance(error, SourceUnavailable):
            return self._absent(error.reason, error.detail)
        detail = f"the source failed: {type(error).__name__}: {error}"
        return self._absent(AbsentReason.LIBRARY_FAILED, detail)

    def _absent(self, reason: AbsentReason, detail: str) -> Absence:
        if self._worker is not None:
            self._worker.close(0.0)
        return Absence(self._name, _interface(self._make), reason, detail)


def _choose(opened: Sequence[Opened], absent: Sequence[Absence]) -> Inventory:
    """Keep one interface a domain, and fallbacks only where nothing else is."""
    ordered = sorted(opened, key=lambda each: (_is_fallback(each), _rank(each.name)))
    taken: dict[_Place, str] = {}
    lines: set[tuple[_Place, Statistic]] = set()
    kinds: dict[object, str] = {}
    chosen: list[Opened] = []
    dropped = list(absent)
    for each in ordered:
        others = kinds if _is_fallback(each) else {}
        kept: list[int] = []
        for local in each.kept:
            sensor = each.sensors[local]
            place = (sensor.device, sensor.domain)
            line = (place, sensor.statistic)
            is_free = taken.get(place, each.name) == each.name and line not in lines
            if is_free and sensor.device.kind not in others:
                taken[place] = each.name
                lines.add(line)
                kept.append(local)
        if not kept:
            first = each.sensors[each.kept[0]]
            by = others.get(first.device.kind) or taken[first.device, first.domain]
            detail = f"everything it sees is read through {by}"
            each.close()
            dropped.append(
                Absence(each.name, each.source.interface, AbsentReason.NOT_NEEDED, detail)
            )
            continue
        chosen.append(replace(each, kept=tuple(kept)))
        if not _is_fallback(each):
            for local in kept:
                kinds.setdefault(each.sensors[local].device.kind, each.name)
    chosen = [replace(each, sensors=_counted_once(each)) for each in chosen]
    chosen = [replace(each, sensors=_rooted(each, chosen)) for each in chosen]
    return Inventory(tuple(chosen), tuple(sorted(dropped, key=lambda absence: _rank(absence.name))))


def _counted_once(each: Opened) -> tuple[Sensor, ...]:
    """Return the sensors of ``each``, of every domain only the best one in the sum."""
    best: dict[_Place, Statistic] = {}
    for local in each.kept:
        sensor = each.sensors[local]
        if sensor.root:
            place = (sensor.device, sensor.domain)
            best[place] = min(best.get(place, sensor.statistic), sensor.statistic)
    return tuple(
        replace(s, root=s.root and best.get((s.device, s.domain)) is s.statistic)
        for s in each.sensors
    )


def _rooted(each: Opened, chosen: Sequence[Opened]) -> tuple[Sensor, ...]:
    """Return the sensors of ``each``, of what lies inside another only one in the sum."""
    added = [other.sensors[local] for other in chosen for local in other.kept]
    added = [sensor for sensor in added if sensor.root]
    inner = {sensor.device for sensor in added if sensor.domain not in _OUTER}
    whole = {
        sensor.device: sensor.contains
        for sensor in added
        if sensor.domain is Domain.MODULE
        and any(part.kind is DeviceKind.GPU and part not in inner for part in sensor.contains)
    }
    nested = {part for parts in whole.values() for part in parts}
    # A module whose CPU nobody knows may be around any of them.
    around_any = any(
        all(part.kind is not DeviceKind.CPU for part in parts) for parts in whole.values()
    )

    def is_root(sensor: Sensor) -> bool:
        if sensor.domain in _OUTER:
            return sensor.device in whole or not (inner or whole)
        if around_any and sensor.device.kind is DeviceKind.CPU:
            return False
        return sensor.device not in nested

    return tuple(replace(s, root=s.root and is_root(s)) for s in each.sensors)


def _rank(name: str) -> tuple[int, str]:
    return (PREFERENCE.index(name) + 1 if name in PREFERENCE else 0, name)


def _is_fallback(each: Opened) -> bool:
    return each.source.fallback


def _interface(make: Callable[[], Source]) -> Interface:
    """Return a source's interface without making one."""
    target = make.func if isinstance(make, partial) else make
    interface = getattr(target, "interface", Interface.EXTERNAL)
    return interface if isinstance(interface, Interface) else Interface.EXTERNAL
