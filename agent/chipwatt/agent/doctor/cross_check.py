"""Holds a second reader of the same counters against ours.

The second reader is asked between two readings of ours, so whatever its value
is, it must lie between them: the check needs no tolerance, and no difference
of polling time can hide a fault or feign one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chipwatt.agent.sensing.contract import Sensor, Source
from chipwatt.core.clock import NS_PER_S, Clock
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import Domain

Key = tuple[DeviceId, Domain]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One counter, over one interval, by both readers."""

    device: str
    domain: str
    ours_uj: int
    theirs_uj: int
    agrees: bool
    """Whether both of the other reader's values lay between ours."""


def cross_check(
    ours: Source, theirs: Source, clock: Clock, span_ns: int = NS_PER_S
) -> list[Comparison]:
    """Open both, compare what they have in common over ``span_ns``, and close both.

    Raises what their ``open`` and ``poll`` raise.
    """
    try:
        sensors = {_key(sensor): sensor for sensor in ours.open()}
        places = [_key(sensor) for sensor in theirs.open()]
        own_places = list(sensors)
        first = _bracket(ours, own_places, theirs, places)
        clock.sleep_until(clock.mono_ns() + span_ns)
        last = _bracket(ours, own_places, theirs, places)
    finally:
        ours.close()
        theirs.close()
    return [
        _compare(sensor, first[key], last[key])
        for key, sensor in sensors.items()
        if key in first and key in last
    ]


@dataclass(frozen=True, slots=True)
class _Bracket:
    before_uj: int
    theirs_uj: int
    after_uj: int


def _bracket(
    ours: Source, own_places: list[Key], theirs: Source, places: list[Key]
) -> dict[Key, _Bracket]:
    before = _values(ours, own_places)
    between = _values(theirs, places)
    after = _values(ours, own_places)
    return {
        key: _Bracket(before[key], between[key], after[key])
        for key in between
        if key in before and key in after
    }


def _values(source: Source, places: list[Key]) -> Mapping[Key, int]:
    return {places[reading.sensor]: reading.value for reading in source.poll()}


def _compare(sensor: Sensor, first: _Bracket, last: _Bracket) -> Comparison:
    modulus_uj = sensor.modulus_uj

    def rise(from_uj: int, to_uj: int) -> int:
        return (to_uj - from_uj) % modulus_uj if modulus_uj else to_uj - from_uj

    return Comparison(
        str(sensor.device),
        sensor.domain.name,
        rise(first.before_uj, last.before_uj),
        rise(first.theirs_uj, last.theirs_uj),
        all(
            0 <= rise(b.before_uj, b.theirs_uj) <= rise(b.before_uj, b.after_uj)
            for b in (first, last)
        ),
    )


def _key(sensor: Sensor) -> Key:
    return sensor.device, sensor.domain
