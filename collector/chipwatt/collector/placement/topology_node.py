"""One node of a topology file: every key read, every fault told."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from chipwatt.collector.placement.breakers import CURVES, trip_curve
from chipwatt.collector.placement.topology import (
    WHOLE_PPM,
    Breaker,
    NodeKind,
    Parent,
    PowerNode,
    Redundancy,
)
from chipwatt.collector.placement.topology_text import Wrong
from chipwatt.core.columns import MAX_POWER_MW

_UNIT_MW = {"mW": 1, "W": 1_000, "kW": 1_000_000, "MW": 1_000_000_000}
_POWER = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")
_MAX_TEXT = 253
"""As long as a host's name may be."""
_MAX_NODE_MW = 1_000_000 * MAX_POWER_MW
_NODE_KEYS = (
    "id", "kind", "parents", "rated", "budget", "derate", "safety_margin", "host", "breaker",
    "redundancy", "thermal_zone", "hw_class", "labels",
)  # fmt: skip
_PARENT_KEYS = ("id", "feed", "share")
_BREAKER_KEYS = ("trip_curve", "continuous")
_REDUNDANCY = {"N": Redundancy.N, "N+1": Redundancy.N_PLUS_1, "2N": Redundancy.TWO_N}


def parse_power_mw(value: object) -> int:
    """Read ``"40kW"`` as integer milliwatts. Raises Wrong unless it is exact and above 0."""
    match = _POWER.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in _UNIT_MW:
        raise Wrong(f'power is text with a unit, as "800W", "40kW" or "1.2MW", not {value!r:.40}')
    power_mw = Decimal(match[1]) * _UNIT_MW[match[2]]
    if power_mw <= 0:
        raise Wrong(f"power must be above 0, not {value!r:.40}")
    if power_mw > _MAX_NODE_MW or power_mw != int(power_mw):
        raise Wrong(f"{value!r:.40} is no whole number of milliwatts of at most 4 PW")
    return int(power_mw)


def node_of(table: Mapping[str, Any]) -> PowerNode:
    """Read one node. Raises Wrong."""
    name = table.get("id")
    if name is None or name == "":
        raise Wrong(f"a node has no id: {table!r:.80}")
    if not isinstance(name, str):
        raise Wrong(f"id is text, not {name!r:.40}: quote it")
    if len(name) > _MAX_TEXT or not name.isprintable():
        raise Wrong(f"an id is at most {_MAX_TEXT} printable characters, not {name!r:.60}")
    try:
        return _read(name, table)
    except Wrong as error:
        raise Wrong(f"node {name!r}: {error}") from None


def _read(name: str, table: Mapping[str, Any]) -> PowerNode:
    check_keys(table, _NODE_KEYS, "a node")
    kind = _kind(table.get("kind"))
    if "host" in table and kind is not NodeKind.HOST:
        raise Wrong("only a node of kind 'host' has a host")
    rated_mw = _power(table, "rated")
    derate_ppm = _fraction_ppm(table, "derate", WHOLE_PPM)
    budget_mw = _power(table, "budget") or rated_mw * derate_ppm // WHOLE_PPM
    if rated_mw and budget_mw > rated_mw:
        raise Wrong(f"its budget {table['budget']!r} is above its rating")
    return PowerNode(
        id=name,
        kind=kind,
        parents=_parents(table),
        rated_mw=rated_mw,
        budget_mw=budget_mw,
        safety_margin_ppm=_fraction_ppm(table, "safety_margin", 0),
        host=_text(table, "host", name) if kind is NodeKind.HOST else "",
        derate_ppm=derate_ppm,
        breaker=_breaker(table),
        redundancy=_redundancy(table.get("redundancy")),
        thermal_zone=_text(table, "thermal_zone", ""),
        hw_class=_text(table, "hw_class", ""),
        labels=_labels(table),
    )


def _power(table: Mapping[str, Any], key: str) -> int:
    if key not in table:
        return 0
    try:
        return parse_power_mw(table[key])
    except Wrong as error:
        raise Wrong(f"{key}: {error}") from None


def _parents(table: Mapping[str, Any]) -> tuple[Parent, ...]:
    given = table.get("parents", [])
    if not isinstance(given, list):
        raise Wrong("parents is a list of ids or of { id, feed, share }")
    tables = [{"id": item} if isinstance(item, str) else item for item in given]
    for parent in tables:
        if not isinstance(parent, dict) or not isinstance(parent.get("id"), str):
            raise Wrong(f"a parent is an id or {{ id, feed, share }}, not {parent!r:.60}")
        check_keys(parent, _PARENT_KEYS, "a parent")
    names = [parent["id"] for parent in tables]
    for name in names:
        if names.count(name) > 1:
            raise Wrong(f"parent {name!r} stands there twice")
    return tuple(
        Parent(parent["id"], _text(parent, "feed", ""), share)
        for parent, share in zip(tables, _shares_ppm(tables), strict=True)
    )


def _shares_ppm(tables: list[dict[str, Any]]) -> list[int]:
    """Return the parents' shares; where none is given, even parts that sum to the whole."""
    if not any("share" in table for table in tables):
        even, left = divmod(WHOLE_PPM, len(tables) or 1)
        return [even + (position < left) for position in range(len(tables))]
    shares = [_fraction_ppm(table, "share", 0) for table in tables]
    if sum(shares) != WHOLE_PPM:
        total = Decimal(sum(shares)) / WHOLE_PPM
        raise Wrong(
            f"the shares of its parents sum to {total:f}, not 1; leave them out for even parts"
        )
    return shares


def _breaker(table: Mapping[str, Any]) -> Breaker | None:
    given = table.get("breaker")
    if given is None:
        return None
    if not isinstance(given, dict):
        raise Wrong(f"breaker is {{ trip_curve, continuous }}, not {given!r:.60}")
    check_keys(given, _BREAKER_KEYS, "a breaker")
    try:
        curve, continuous_mw = _text(given, "trip_curve", ""), _power(given, "continuous")
    except Wrong as error:
        raise Wrong(f"breaker: {error}") from None
    if curve and trip_curve(curve) is None:
        hint = nearest(curve, CURVES) or "; leave it out where the curve is another"
        raise Wrong(
            f"breaker: trip_curve {curve!r:.40} is none of {', '.join(CURVES)}, of which each may "
            f"end in @ and its time multiplier{hint}"
        )
    if not continuous_mw:
        raise Wrong("breaker: it trips at nothing without continuous, the power it carries always")
    return Breaker(curve, continuous_mw)


def _redundancy(value: object) -> Redundancy:
    if value is None:
        return Redundancy.UNSPECIFIED
    if not isinstance(value, str) or value not in _REDUNDANCY:
        raise Wrong(f"redundancy {value!r:.40} is not one of {', '.join(_REDUNDANCY)}")
    return _REDUNDANCY[value]


def _labels(table: Mapping[str, Any]) -> dict[str, str]:
    given = table.get("labels", {})
    if not isinstance(given, dict):
        raise Wrong(f"labels are names with texts, not {given!r:.60}")
    for name, value in given.items():
        if not isinstance(value, str):
            raise Wrong(f"labels: {name!r:.40} is text, not {value!r:.40}: quote it")
        _text(given, name, "")
    return dict(given)


def _fraction_ppm(table: Mapping[str, Any], key: str, default: int) -> int:
    value = table.get(key)
    if value is None:
        return default
    number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    if not number or not Decimal(value).is_finite() or not 0 <= value <= 1:
        raise Wrong(f"{key} is a number from 0 to 1, not {value!s:.20}")
    return round(Decimal(value) * WHOLE_PPM)


def _text(table: Mapping[str, Any], key: str, default: str) -> str:
    value = table.get(key, default)
    if not isinstance(value, str):
        raise Wrong(f"{key} is text, not {value!r:.40}")
    if len(value) > _MAX_TEXT or not value.isprintable():
        raise Wrong(f"{key} is at most {_MAX_TEXT} printable characters, not {value!r:.60}")
    return value


def _kind(value: object) -> NodeKind:
    known = [kind.name.lower() for kind in NodeKind]
    if not isinstance(value, str) or value not in known:
        raise Wrong(f"kind {value!r:.40} is not one of {', '.join(known)}{nearest(value, known)}")
    return NodeKind[value.upper()]


def check_keys(table: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    """Refuse keys that mean nothing here, with what may have been meant. Raises Wrong."""
    for key in table:
        if key not in known:
            hint = nearest(key, known) or f"; {what} has {', '.join(known)}"
            raise Wrong(f"unknown key {key!r}{hint}")


def nearest(wrong: object, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` or nothing."""
    near = difflib.get_close_matches(str(wrong), list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""
