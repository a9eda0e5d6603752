"""The power topology in memory: a directed acyclic graph laid out for numpy.

Nodes stand parents first. A node's level is its longest way from a root, so
loads are carried up by going through the levels from the deepest to the roots
once, each level in one vectorised step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property

import numpy as np

from chipwatt.collector.placement.topology_order import parents_first
from chipwatt.core.tables import Array

WHOLE_PPM = 1_000_000


class NodeKind(IntEnum):
    """What a power node is; numbers equal those of ``chipwatt.v1.NodeKind``."""

    SITE = 1
    FEED = 2
    UPS = 3
    PDU = 4
    ROW = 5
    RACK = 6
    CHASSIS = 7
    HOST = 8
    CHIP = 9
    """Drawn from its host: what it draws is in the host's power already."""


class Redundancy(IntEnum):
    """How supply is doubled; numbers equal those of ``chipwatt.v1.Redundancy``."""

    UNSPECIFIED = 0
    N = 1
    N_PLUS_1 = 2
    TWO_N = 3


@dataclass(frozen=True, slots=True)
class Breaker:
    """What trips above a node."""

    trip_curve: str = ""
    """A curve that ``breakers`` knows; empty: nobody said."""
    continuous_mw: int = 0
    """What it carries for ever; 0: nobody said."""


@dataclass(frozen=True, slots=True)
class Parent:
    """One supply of a node."""

    id: str
    feed: str = ""
    """``A`` or ``B``; empty where there is one feed."""
    share_ppm: int = WHOLE_PPM
    """Share of the node's power that this parent carries in normal operation."""


@dataclass(frozen=True, slots=True)
class PowerNode:
    """A node of the power topology."""

    id: str
    kind: NodeKind
    parents: tuple[Parent, ...] = ()
    rated_mw: int = 0
    """What the hardware carries; a host's nameplate. 0: nobody said."""
    budget_mw: int = 0
    """What may be used; 0: no budget."""
    safety_margin_ppm: int = 0
    """Share of the budget that is never given away."""
    host: str = ""
    """Hosts only: hexadecimal id or name of the telemetry behind the node."""
    derate_ppm: int = WHOLE_PPM
    breaker: Breaker | None = None
    redundancy: Redundancy = Redundancy.UNSPECIFIED
    thermal_zone: str = ""
    hw_class: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The operator's own, never a host's."""

    @property
    def allowed_mw(self) -> int:
        """Budget less margin; 0 where there is no budget."""
        return self.budget_mw * (WHOLE_PPM - self.safety_margin_ppm) // WHOLE_PPM


@dataclass(frozen=True, slots=True)
class Level:
    """Edges whose children stand on one level, sorted by parent."""

    children: Array
    shares: Array
    """Per edge, as a column: 0 to 1."""
    starts: Array
    """Where each parent's edges begin."""
    parents: Array
    above: Array
    """Per edge its parent."""
    turns: Array
    """Per edge the place of its parent among those of the child."""


class Topology:
    """A checked graph. Raises ValueError where an edge leads nowhere or in a circle.

    A ``version`` stands for the same nodes for ever, and a later one is larger.
    """

    def __init__(self, nodes: Iterable[PowerNode], version: int = 0) -> None:
        self.version = version
        self.nodes = parents_first(nodes)
        self.index = {node.id: position for position, node in enumerate(self.nodes)}
        self.parents: list[list[int]] = [
            [self.index[parent.id] for parent in node.parents] for node in self.nodes
        ]
        self.hosts = np.array(
            [i for i, node in enumerate(self.nodes) if node.kind is NodeKind.HOST], dtype=np.int64
        )
        """Positions of host nodes."""
        self.levels = self._levels()
        self.above, self.beneath = self._pairs()
        """Pairs (node, which of ``hosts``): the host hangs on the node, once however many ways."""

    @cached_property
    def budget_mw(self) -> Array:
        """Budget of every node; 0 where there is none."""
        return np.array([node.budget_mw for node in self.nodes], dtype=np.float64)

    @cached_property
    def allowed_mw(self) -> Array:
        """Budget less margin of every node; infinite where there is no budget."""
        allowed = [node.allowed_mw if node.budget_mw else np.inf for node in self.nodes]
        return np.array(allowed, dtype=np.float64)

    @cached_property
    def rated_mw(self) -> Array:
        """Rating of every node; 0 where nobody said."""
        return np.array([node.rated_mw for node in self.nodes], dtype=np.float64)

    @cached_property
    def chips(self) -> Array:
        """Positions of chips."""
        kinds = [node.kind is NodeKind.CHIP for node in self.nodes]
        return np.flatnonzero(np.array(kinds, dtype=bool))

    def subtree(self, root: str, depth: int = 0) -> list[PowerNode]:
        """Return a root and what is beneath it, parents first.

        An empty ``root`` stands for every root; ``depth`` counts levels beneath it, 0: all.
        """
        levels: dict[int, int] = {self.index[root]: 0} if root else {}
        for position, parents in enumerate(self.parents):
            if not root and not parents:
                levels[position] = 0
            above = [levels[parent] for parent in parents if parent in levels]
            if above and position not in levels:
                levels[position] = min(above) + 1
        return [self.nodes[i] for i in sorted(levels) if not depth or levels[i] <= depth]

    def unrated_beneath_budgets(self) -> list[str]:
        """Return hosts under a budget without a rating: nobody can say what they draw unheard."""
        budgeted = np.array([node.budget_mw > 0 for node in self.nodes], dtype=bool)
        rows = np.unique(self.beneath[budgeted[self.above]]).tolist()
        found = (self.nodes[self.hosts[row]] for row in rows)
        return [node.id for node in found if not node.rated_mw]

    def least_on_the_way_up(self, values: Array) -> tuple[Array, Array]:
        """Return per node the least value of itself and its ancestors, and whose it is.

        Of equal ones the nearest on the way, then the first parent's.
        """
        least, whose = values.copy(), np.arange(len(values))
        for level in reversed(self.levels):
            # Several edges lead to one child: turn by turn, so that each sees the last.
            for turn in np.unique(level.turns).tolist():
                edges = level.turns == turn
                child, parent = level.children[edges], level.above[edges]
                lower = least[parent] < least[child]
                least[child[lower]] = least[parent[lower]]
                whose[child[lower]] = whose[parent[lower]]
        return least, whose

    def shared_hosts(self) -> Array:
        """Return how many hosts a node adds up; one beneath several of a kind is shared by them."""
        kinds = np.array([int(node.kind) for node in self.nodes], np.int64)[self.above]
        pairs = kinds * len(self.hosts) + self.beneath
        parts = 1.0 / np.bincount(pairs)[pairs]
        shared: Array = np.bincount(self.above, parts, len(self.nodes))
        return shared

    def carry_up(self, loads: Array) -> None:
        """Add every node's load to its parents', by share; rows are nodes, in place."""
        for level in self.levels:
            carried = loads[level.children] * level.shares
            loads[level.parents] += np.add.reduceat(carried, level.starts, axis=0)

    def _levels(self) -> list[Level]:
        depth = [0] * len(self.nodes)
        edges: dict[int, list[tuple[int, int, float, int]]] = {}
        for child, node in enumerate(self.nodes):
            depth[child] = 1 + max((depth[parent] for parent in self.parents[child]), default=-1)
            for turn, parent in enumerate(node.parents):
                edge = (self.parents[child][turn], child, parent.share_ppm / WHOLE_PPM, turn)
                edges.setdefault(depth[child], []).append(edge)
        levels = []
        for _, of_level in sorted(edges.items(), reverse=True):
            parents, children, shares, turns = map(np.array, zip(*sorted(of_level), strict=True))
            unique, starts = np.unique(parents, return_index=True)
            levels.append(Level(children, shares[:, np.newaxis], starts, unique, parents, turns))
        return levels

    def _pairs(self) -> tuple[Array, Array]:
        found: list[set[int]] = [set() for _ in self.nodes]
        for row, position in enumerate(self.hosts.tolist()):
            found[position].add(row)
        for child in range(len(self.nodes) - 1, -1, -1):
            for parent in self.parents[child]:
                found[parent] |= found[child]
        above = np.repeat(np.arange(len(found)), [len(rows) for rows in found])
        return above, np.array([row for rows in found for row in sorted(rows)], dtype=np.int64)


def flat(hosts: Sequence[tuple[str, str]]) -> Topology:
    """Return a site with every host on it; ``hosts`` are (hexadecimal id, name).

    A name that several hosts share, or that is the site's, gives way to the id.
    """
    used = Counter(name for _, name in hosts)
    used["site"] += 1
    nodes = [PowerNode("site", NodeKind.SITE)]
    for host, name in hosts:
        node_id = name if name and used[name] == 1 else host
        nodes.append(PowerNode(node_id, NodeKind.HOST, (Parent("site"),), host=host))
    return Topology(nodes)
