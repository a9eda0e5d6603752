"""Reads the power topology from a TOML or YAML file and refuses what cannot be one.

One ``[[node]]`` table a node::

    [[node]]
    id = "rack-7"              # unique
    kind = "rack"              # site feed ups pdu row rack chassis host chip
    parents = [                # none: a root; a bare id may stand for a table
      { id = "pdu-a", feed = "A", share = 0.5 },
      { id = "pdu-b", feed = "B", share = 0.5 },
    ]                          # shares sum to 1; left out everywhere: even parts
    rated = "40kW"             # what the hardware carries; of a host, its nameplate
    derate = 0.8               # budget = rated x derate where no budget is given
    budget = "30kW"            # what may be used
    safety_margin = 0.05       # share of the budget that is never given away
    breaker = { trip_curve = "iec-very-inverse", continuous = "34kW" }
    redundancy = "2N"          # N, N+1 or 2N
    thermal_zone = "aisle-3"   # the operator's own name
    hw_class = "hgx-h100"      # nodes of a kind and class share what forecasts have learned
    labels = { room = "3" }    # the operator's own names and texts, for selectors
    host = "node-17"           # hosts only: id (32 hex digits) or name; default: the node's id

A chip hangs on a host, feeds nobody, and adds nothing to its host's power. In YAML
(``.yaml``, ``.yml``) the same keys stand in a list ``node``::

    node:
      - id: rack-7
        kind: rack
        parents: [{id: pdu-a, feed: A, share: 0.5}, {id: pdu-b, feed: B, share: 0.5}]
        rated: 40kW

Power is text with a unit (``mW``, ``W``, ``kW``, ``MW``) and is read exactly.
Every refusal is a TopologyError that names file, line and reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from chipwatt.collector.placement.topology import NodeKind, PowerNode, Topology
from chipwatt.collector.placement.topology_node import check_keys, nearest, node_of
from chipwatt.collector.placement.topology_order import find_cycle
from chipwatt.collector.placement.topology_text import Entry, Wrong, read_toml, read_yaml
from chipwatt.core.errors import TopologyError

_YAML_SUFFIXES = (".yaml", ".yml")
_HOST_ID = re.compile(r"[0-9a-fA-F]{32}")


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
    """Read and check the text of a topology file, YAML if its name says so.

    Raises TopologyError.
    """
    read = read_yaml if path.lower().endswith(_YAML_SUFFIXES) else read_toml
    try:
        return Topology(_nodes(*read(text)))
    except Wrong as error:
        where = f"{path}:{error.line}" if error.line else path
        raise TopologyError(f"{where}: {error}") from None


def _nodes(whole: Mapping[str, object], entries: list[Entry]) -> list[PowerNode]:
    check_keys(whole, ("node",), "the file")
    if not entries:
        raise Wrong("it holds no [[node]]")
    nodes = []
    for entry in entries:
        try:
            nodes.append(node_of(entry.table))
        except Wrong as error:
            raise Wrong(str(error), entry.line) from None
    _check_graph(nodes, [entry.line for entry in entries])
    return nodes


def _check_graph(nodes: list[PowerNode], lines: list[int]) -> None:
    by_id: dict[str, PowerNode] = {}
    for node, line in zip(nodes, lines, strict=True):
        if node.id in by_id:
            raise Wrong(f"the id {node.id!r} is taken by an earlier node", line)
        by_id[node.id] = node
    for node, line in zip(nodes, lines, strict=True):
        for parent in node.parents:
            if parent.id not in by_id:
                hint = nearest(parent.id, by_id)
                raise Wrong(f"node {node.id!r} has an unknown parent {parent.id!r}{hint}", line)
            _check_edge(node, by_id[parent.id], line)
        if node.kind is NodeKind.CHIP and len(node.parents) != 1:
            raise Wrong(f"node {node.id!r} is a chip, which hangs on one host", line)
    _check_hosts(nodes, lines)
    circle = find_cycle(by_id)
    if circle:
        line = dict(zip(by_id, lines, strict=True))[circle[0]]
        raise Wrong("nodes feed each other in a circle: " + " -> ".join(circle), line)


def _check_edge(node: PowerNode, parent: PowerNode, line: int) -> None:
    hangs = f"node {node.id!r} hangs on {parent.id!r}"
    if parent.kind is NodeKind.CHIP:
        raise Wrong(f"{hangs}, a chip, which feeds nobody", line)
    if parent.kind is NodeKind.HOST and node.kind is not NodeKind.CHIP:
        raise Wrong(f"{hangs}, a host, which feeds nobody", line)
    if node.kind is NodeKind.CHIP and parent.kind is not NodeKind.HOST:
        raise Wrong(f"{hangs}; a chip hangs on a host", line)


def _check_hosts(nodes: list[PowerNode], lines: list[int]) -> None:
    """Refuse a host behind two nodes: its power would count twice."""
    taken: dict[str, tuple[PowerNode, int]] = {}
    for node, line in zip(nodes, lines, strict=True):
        if node.kind is not NodeKind.HOST:
            continue
        host = node.host.lower() if _HOST_ID.fullmatch(node.host) else node.host
        first, first_line = taken.setdefault(host, (node, line))
        if first is not node:
            raise Wrong(
                f"node {node.id!r}: its host {node.host!r} stands behind node {first.id!r} "
                f"(line {first_line}) already, and would count twice; give every host one node",
                line,
            )
