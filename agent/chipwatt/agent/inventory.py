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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from chipwatt.agent.opening import Absence, Careful, Opened, Opening, interface_of
from chipwatt.agent.sensing.contract import Sensor
from chipwatt.agent.sensing.registry import Registered
from chipwatt.core.clock import Clock, SystemClock
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
class Inventory:
    """Everything that was found."""

    opened: tuple[Opened, ...]
    absent: tuple[Absence, ...]

    def sensors(self) -> list[Sensor]:
        """Return the sensors in use; their positions here are those of the reducer."""
        return [each.sensors[local] for each in self.opened for local in each.kept]

    def devices(self) -> tuple[DeviceId, ...]:
        """Return the chips whose energy is added up, of which workloads may hold parts."""
        return tuple(sorted({sensor.device for sensor in self.sensors() if sensor.root}))

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

    def would_use(self, found: Opened) -> bool:
        """Whether ``found`` has a sensor that would be read beside these, or instead."""
        chosen, _ = _choose([*self.opened, found])
        return any(each.name == found.name for each in chosen)

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
    careful: Careful | None = None,
) -> Inventory:
    """Open every enabled source (all, where ``enabled`` is empty) and choose among its sensors.

    A source's fault is never raised: it becomes an ``Absence``. A replay with a
    file set keeps every other source closed, and raises TraceError where that
    file cannot be read.
    """
    clock = clock or SystemClock()
    careful = careful or Careful()
    opening: list[Opening] = []
    results: list[Opened | Absence] = []
    for name in sorted(registry, key=_rank):
        make = partial(registry[name].make, configs[name])
        closed = _why_closed(name, configs, enabled)
        if closed is not None:
            results.append(Absence(name, interface_of(make), *closed))
        elif name in careful.left_out:
            why = careful.left_out[name]
            results.append(
                Absence(name, interface_of(make), AbsentReason.LIBRARY_FAILED, why, make)
            )
        else:
            opening.append(Opening(name, make, clock, careful.note))
            if careful.one_by_one:
                results.append(opening.pop().result(open_timeout_s))
    # Libraries open in their own threads, all at once; only then is any waited for.
    results += [each.result(open_timeout_s) for each in opening]
    absent = [each for each in results if isinstance(each, Absence)]
    chosen, spare = _choose([each for each in results if isinstance(each, Opened)])
    for each, detail in spare:
        each.close()
        absent.append(Absence(each.name, each.source.interface, AbsentReason.NOT_NEEDED, detail))
    for each in chosen:
        for what, reason, detail in each.missing():
            absent.append(Absence(each.name, each.source.interface, reason, f"{what}: {detail}"))
    return Inventory(tuple(chosen), tuple(sorted(absent, key=lambda absence: _rank(absence.name))))


def _why_closed(
    name: str, configs: Mapping[str, Any], enabled: Sequence[str]
) -> tuple[AbsentReason, str] | None:
    """Return why a source is not opened at all; None where it is."""
    replaying = bool(getattr(configs.get(REPLAY), "file", None))
    if replaying and name != REPLAY:
        return AbsentReason.NOT_NEEDED, "a recorded trace is replayed instead"
    if enabled and name not in enabled and not replaying:
        detail = f"switched off: add {name!r} to sensing.sources to use it"
        return AbsentReason.DISABLED, detail
    return None


def _choose(opened: Sequence[Opened]) -> tuple[list[Opened], list[tuple[Opened, str]]]:
    """Keep one interface a domain, and fallbacks only where nothing else is.

    Also returns those of no use, with why.
    """
    ordered = sorted(opened, key=lambda each: (_is_fallback(each), _rank(each.name)))
    taken: dict[_Place, str] = {}
    lines: set[tuple[_Place, Statistic]] = set()
    kinds: dict[object, str] = {}
    chosen: list[Opened] = []
    spare: list[tuple[Opened, str]] = []
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
            spare.append((each, f"everything it sees is read through {by}"))
            continue
        chosen.append(replace(each, kept=tuple(kept)))
        if not _is_fallback(each):
            for local in kept:
                kinds.setdefault(each.sensors[local].device.kind, each.name)
    chosen = [replace(each, sensors=_counted_once(each)) for each in chosen]
    chosen = [replace(each, sensors=_rooted(each, chosen)) for each in chosen]
    return chosen, spare


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
