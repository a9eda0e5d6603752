"""Lets in what a source says of its sensors only as far as the records can hold it.

Sources check what their vendors name. This is the place behind all of them, so that none, nor
one that a site wrote, can hand on a number that no column can hold: a field that cannot be true
counts as not said, and a sensor whose identity cannot be told is left out.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from chipwatt.agent.sensing.contract import Limits, Quantity, Sensor
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.columns import COLUMNS, MAX_ENERGY_UJ, MAX_POWER_MW, SectionKind
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain, Interface
from chipwatt.core.records import Throttle

_MAX_ORDINAL: Final = {spec.name: spec.high for spec in COLUMNS[SectionKind.DEVICE]}["ordinal"]
_MAX_UID: Final = (1 << 128) - 1
_MAX_FLAGS: Final = (1 << 32) - 1
_LONGEST_NS: Final = 3600 * NS_PER_S
"""No firmware refreshes or averages over more than an hour."""
_COARSEST_UJ: Final = 1_000_000_000
_OTHERWISE_MW: Final = 2_000_000
_MAX_SPENT_MS: Final = (1 << 63) - 1
_log = logging.getLogger(__name__)


def admit_all(source: str, sensors: Sequence[Sensor]) -> tuple[tuple[Sensor, ...], tuple[int, ...]]:
    """Return a source's sensors at their places, and the places of those that can be used."""
    admitted: list[Sensor] = []
    usable: list[int] = []
    for place, sensor in enumerate(sensors):
        try:
            admitted.append(admit(sensor))
            usable.append(place)
        except ValueError as error:
            admitted.append(replace(sensor, root=False))
            _log.warning("%s: the sensor %.60r is left out: %s", source, sensor.label, error)
    return tuple(admitted), tuple(usable)


def admit(sensor: Sensor) -> Sensor:
    """Return ``sensor``, its fields that cannot be true as if they had not been told.

    Raises ValueError with a sentence where its identity is not one.
    """
    device = sensor.device
    if not _is_device(device):
        raise ValueError(f"{device!r:.90} is no device; ordinals go from 0 to {_MAX_ORDINAL}")
    named = ((sensor.domain, Domain), (sensor.interface, Interface), (sensor.quantity, Quantity))
    for value, kind in named:
        if not isinstance(value, kind):
            raise ValueError(f"{value!r:.90} is no {kind.__name__.lower()}")  # noqa: TRY004
    most_mw = _whole(sensor.max_power_mw, 1, None)
    return replace(
        sensor,
        root=bool(sensor.root),
        label=str(sensor.label),
        modulus_uj=_whole(sensor.modulus_uj, 0, MAX_ENERGY_UJ) or 0,
        resolution_uj=_whole(sensor.resolution_uj, 1, _COARSEST_UJ) or 1,
        refresh_ns=_whole(sensor.refresh_ns, 0, _LONGEST_NS) or 0,
        averaging_ns=_whole(sensor.averaging_ns, 0, _LONGEST_NS) or 0,
        max_power_mw=_OTHERWISE_MW if most_mw is None else min(most_mw, MAX_POWER_MW),
        stamped=bool(sensor.stamped),
        flags=_whole(sensor.flags, 0, _MAX_FLAGS) or 0,
        limits=_limits(sensor.limits),
        contains=tuple(part for part in sensor.contains if _is_device(part)),
    )


def admit_throttle(throttle: Throttle) -> Throttle:
    """Return ``throttle`` without what cannot be true."""
    return Throttle(
        limit_mw=_whole(throttle.limit_mw, 0, MAX_POWER_MW),
        power_ms=_whole(throttle.power_ms, 0, _MAX_SPENT_MS),
        thermal_ms=_whole(throttle.thermal_ms, 0, _MAX_SPENT_MS),
        brake_ms=_whole(throttle.brake_ms, 0, _MAX_SPENT_MS),
        other_ms=_whole(throttle.other_ms, 0, _MAX_SPENT_MS),
    )


def _is_device(device: Any) -> bool:
    return (
        isinstance(device, DeviceId)
        and isinstance(getattr(device, "kind", None), DeviceKind)
        and _whole(device.ordinal, 0, _MAX_ORDINAL) is not None
        and _whole(device.uid, 0, _MAX_UID) is not None
    )


def _limits(limits: Limits) -> Limits:
    told = (limits.min_mw, limits.max_mw, limits.default_mw)
    return Limits(*(_whole(limit_mw, 0, MAX_POWER_MW) for limit_mw in told))


def _whole(value: Any, low: int, high: int | None) -> int | None:
    """Return an integer from ``low`` to ``high``; None for anything else."""
    if not isinstance(value, int) or value < low or (high is not None and value > high):
        return None
    return value
