"""Reads the power topology from a TOML file and refuses what cannot be one.

One ``[[node]]`` table a node::

    [[node]]
    id = "rack-7"              # unique
    kind = "rack"              # site feed ups pdu row rack chassis host
    parents = [                # none: a root; a bare id may stand for a table
      { id = "pdu-a", feed = "A", share = 0.5 },
      { id = "pdu-b", feed = "B", share = 0.5 },
    ]                          # shares sum to 1; left out everywhere: even parts
    rated = "40kW"             # what the hardware carries; of a host, its nameplate
    derate = 0.8               # budget = rated x derate where no budget is given
    budget = "30kW"            # what may be used
    safety_margin = 0.05       # share of the budget that is never given away
    host = "node-17"           # hosts only: id (32 hex digits) or name; default: the node's id

Power is text with a unit (``mW``, ``W``, ``kW``, ``MW``) and is read exactly.
Every refusal is a TopologyError that names file, line and reason.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from chipwatt.collector.placement.topology import (
    WHOLE_PPM,
    NodeKind,
    Parent,
    PowerNode,
    Topology,
    find_cycle,
)
from chipwatt.core.columns import MAX_POWER_MW
from chipwatt.core.errors import TopologyError

_UNIT_MW = {"mW": 1, "W": 1_000, "kW": 1_000_000, "MW": 1_000_000_000}
_HOST_ID = re.compile(r"[0-9a-fA-F]{32}")
_POWER = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")
_MAX_NODE_MW = 1_000_000 * MAX_POWER_MW
_NODE_KEYS = (
    "id", "kind", "parents", "rated", "budget", "derate", "safety_margin", "host",
)  # fmt: skip
_PARENT_KEYS = ("id", "feed", "share")


class Wrong(ValueError):
    """A reason, still without file and line."""


def load_topology(path: Path) -> Topology:
    """Read and check ``path``. Raises TopologyError."""
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        is_text = isinstance(error, UnicodeDecodeError)
        why = "it is no UTF-8 text" if is_text else "that is no path"
        reason = error.strerror if isinstance(error, OSError) else why
        raise TopologyError(f"{path}: the topology file cannot be read: {reason}") from None
    return parse_topology(text, str(path))


def parse_topology(text: str, path: str) -> Topology:
    """Read and check the text of a topology file. Raises TopologyError."""
    try:
        table = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise TopologyError(f"{path}: not valid TOML: {error}") from None
    except RecursionError:
        raise TopologyError(f"{path}: not valid TOML: nested too deeply") from None
    try:
        _check_keys(table, ("node",), "the file")
        nodes = [_Reader(text, path, of_node).node() for of_node in _node_tables(table)]
    except Wrong as error:
        raise TopologyError(f"{path}: {error}") from None
    _check_graph(nodes, text, path)
    return Topology(nodes)


def _node_tables(table: Mapping[str, Any]) -> list[Any]:
    tables = table.get("node", [])
    if not isinstance(tables, list) or not tables:
        raise Wrong("it holds no [[node]]")
    return tables


def parse_power_mw(value: object) -> int:
    """Read ``"40kW"`` as integer milliwatts. Raises Wrong unless it is exact and above 0."""
    match = _POWER.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in _UNIT_MW:
        raise Wrong(f'power is text with a unit, as "800W", "40kW" or "1.2MW", not {value!r}')
    power_mw = Decimal(match[1]) * _UNIT_MW[match[2]]
    if power_mw <= 0:
        raise Wrong(f"power must be above 0, not {value!r}")
    if power_mw > _MAX_NODE_MW or power_mw != int(power_mw):
        raise Wrong(f"{value!r} is no whole number of milliwatts of at most 4 PW")
    return int(power_mw)


class _Reader:
    """One node's table; every complaint names file, line and node."""

    def __init__(self, text: str, path: str, table: object) -> None:
        self._text, self._path = text, path
        self._table: Mapping[str, Any] = table if isinstance(table, dict) else {}
        name = self._table.get("id")
        if not isinstance(name, str) or not name:
            raise Wrong(f"a [[node]] has no id: {table!r:.80}")
        self._id = name

    def node(self) -> PowerNode:
        try:
            return self._read()
        except Wrong as error:
            where = f"{self._path}:{line_of(self._text, self._id)}: node {self._id!r}"
            raise TopologyError(f"{where}: {error}") from None

    def _read(self) -> PowerNode:
        table = self._table
        _check_keys(table, _NODE_KEYS, "a node")
        kind = _kind(table.get("kind"))
        if "host" in table and kind is not NodeKind.HOST:
            raise Wrong("only a node of kind 'host' has a host")
        rated_mw = self._power("rated")
        derate_ppm = _fraction_ppm(table, "derate", WHOLE_PPM)
        usable_mw = rated_mw * derate_ppm // WHOLE_PPM
        budget_mw = self._power("budget") or usable_mw
        if rated_mw and budget_mw > rated_mw:
            raise Wrong(f"its budget {table['budget']!r} is above its rating")
        return PowerNode(
            id=self._id,
            kind=kind,
            parents=self._parents(),
            rated_mw=rated_mw,
            budget_mw=budget_mw,
            safety_margin_ppm=_fraction_ppm(table, "safety_margin", 0),
            host=_text(table, "host", self._id) if kind is NodeKind.HOST else "",
        )

    def _power(self, key: str) -> int:
        if key not in self._table:
            return 0
        try:
            return parse_power_mw(self._table[key])
        except Wrong as error:
            raise Wrong(f"{key}: {error}") from None

    def _parents(self) -> tuple[Parent, ...]:
        given = self._table.get("parents", [])
        if not isinstance(given, list):
            raise Wrong("parents is a list of ids or of { id, feed, share }")
        tables = [{"id": item} if isinstance(item, str) else item for item in given]
        for table in tables:
            if not isinstance(table, dict) or not isinstance(table.get("id"), str):
                raise Wrong(f"a parent is an id or {{ id, feed, share }}, not {table!r:.60}")
            _check_keys(table, _PARENT_KEYS, "a parent")
        names = [table["id"] for table in tables]
        for name in names:
            if names.count(name) > 1:
                raise Wrong(f"parent {name!r} stands there twice")
        shares = _shares_ppm(tables)
        return tuple(
            Parent(table["id"], _text(table, "feed", ""), share)
            for table, share in zip(tables, shares, strict=True)
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
    return value


def _kind(value: object) -> NodeKind:
    known = [kind.name.lower() for kind in NodeKind]
    if not isinstance(value, str) or value not in known:
        raise Wrong(f"kind {value!r} is not one of {', '.join(known)}{nearest(value, known)}")
    return NodeKind[value.upper()]


def _check_keys(table: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    for key in table:
        if key not in known:
            hint = nearest(key, known) or f"; {what} has {', '.join(known)}"
            raise Wrong(f"unknown key {key!r}{hint}")


def _check_graph(nodes: list[PowerNode], text: str, path: str) -> None:
    by_id: dict[str, PowerNode] = {}
    for node in nodes:
        if node.id in by_id:
            line = line_of(text, node.id, 1)
            raise TopologyError(f"{path}:{line}: the id {node.id!r} is taken by an earlier node")
        by_id[node.id] = node
    for node in nodes:
        for parent in node.parents:
            if parent.id not in by_id:
                hint = nearest(parent.id, by_id)
                wrong = f"has an unknown parent {parent.id!r}{hint}"
            elif by_id[parent.id].kind is NodeKind.HOST:
                wrong = f"hangs on {parent.id!r}, a host, which feeds nobody"
            else:
                continue
            raise TopologyError(f"{path}:{line_of(text, node.id)}: node {node.id!r} {wrong}")
    _check_hosts(nodes, text, path)
    circle = find_cycle(by_id)
    if circle:
        way = " -> ".join(circle)
        raise TopologyError(
            f"{path}:{line_of(text, circle[0])}: nodes feed each other in a circle: {way}"
        )


def _check_hosts(nodes: list[PowerNode], text: str, path: str) -> None:
    """Refuse a host behind two nodes: its power would count twice."""
    taken: dict[str, PowerNode] = {}
    for node in nodes:
        if node.kind is not NodeKind.HOST:
            continue
        host = node.host.lower() if _HOST_ID.fullmatch(node.host) else node.host
        first = taken.setdefault(host, node)
        if first is not node:
            raise TopologyError(
                f"{path}:{line_of(text, node.id)}: node {node.id!r}: its host {node.host!r} stands "
                f"behind node {first.id!r} (line {line_of(text, first.id)}) already, and would "
                "count twice; give every host one node"
            )


def nearest(wrong: object, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` or nothing."""
    near = difflib.get_close_matches(str(wrong), list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def line_of(text: str, node_id: str, occurrence: int = 0) -> int:
    """Return the line on which a node's id is given, from 1."""
    # An id inside a parent's braces stands after "{" or ",", never first on its line.
    pattern = re.compile(
        r"^[ \t]*id[ \t]*=[ \t]*[\"']" + re.escape(node_id) + r"[\"']", re.MULTILINE
    )
    starts = [match.start() for match in pattern.finditer(text)]
    at = starts[min(occurrence, len(starts) - 1)] if starts else 0
    return text.count("\n", 0, at) + 1
