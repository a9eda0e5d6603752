"""The power topology in memory: a directed acyclic graph laid out for numpy.

Nodes stand parents first. A node's level is its longest way from a root, so
loads are carried up by going through the levels from the deepest to the roots
once, each level in one vectorised step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

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


class Topology:
    """A checked graph. Raises ValueError where an edge leads nowhere or in a circle."""

    def __init__(self, nodes: Iterable[PowerNode]) -> None:
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

    def subtree(self, root: str) -> list[PowerNode]:
        """Return ``root`` and everything beneath it, parents first."""
        inside = {self.index[root]}
        for position, parents in enumerate(self.parents):
            if not inside.isdisjoint(parents):
                inside.add(position)
        return [self.nodes[position] for position in sorted(inside)]

    def unrated_beneath_budgets(self) -> list[str]:
        """Return hosts under a budget without a rating: nobody can say what they draw unheard."""
        budgeted = np.array([node.budget_mw > 0 for node in self.nodes], dtype=bool)
        rows = np.unique(self.beneath[budgeted[self.above]]).tolist()
        found = (self.nodes[self.hosts[row]] for row in rows)
        return [node.id for node in found if not node.rated_mw]

    def carry_up(self, loads: Array) -> None:
        """Add every node's load to its parents', by share; rows are nodes, in place."""
        for level in self.levels:
            carried = loads[level.children] * level.shares
            loads[level.parents] += np.add.reduceat(carried, level.starts, axis=0)

    def _levels(self) -> list[Level]:
        depth = [0] * len(self.nodes)
        edges: dict[int, list[tuple[int, int, float]]] = {}
        for child, node in enumerate(self.nodes):
            depth[child] = 1 + max((depth[parent] for parent in self.parents[child]), default=-1)
            for position, parent in zip(self.parents[child], node.parents, strict=True):
                edge = (position, child, parent.share_ppm / WHOLE_PPM)
                edges.setdefault(depth[child], []).append(edge)
        levels = []
        for _, of_level in sorted(edges.items(), reverse=True):
            parents, children, shares = zip(*sorted(of_level), strict=True)
            unique, starts = np.unique(np.array(parents), return_index=True)
            levels.append(
                Level(np.array(children), np.array(shares)[:, np.newaxis], starts, unique)
            )
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


def parents_first(nodes: Iterable[PowerNode]) -> tuple[PowerNode, ...]:
    """Return ``nodes`` with every parent before its children.

    Raises ValueError where a parent is missing or nodes feed each other in a circle.
    """
    waiting = {node.id: node for node in nodes}
    ways = {node.id: len(node.parents) for node in waiting.values()}
    children: dict[str, list[str]] = {}
    for node in waiting.values():
        for parent in node.parents:
            if parent.id not in waiting:
                raise ValueError(f"{node.id!r} names an unknown parent {parent.id!r}")
            children.setdefault(parent.id, []).append(node.id)
    ready = [name for name, count in ways.items() if not count]
    for name in ready:  # grows while it is walked
        for child in children.get(name, ()):
            ways[child] -= 1
            if not ways[child]:
                ready.append(child)
    if len(ready) != len(waiting):
        raise ValueError("nodes feed each other in a circle: " + " -> ".join(find_cycle(waiting)))
    return tuple(waiting[name] for name in ready)


def find_cycle(nodes: dict[str, PowerNode]) -> list[str]:
    """Return the ids along one circle, the first again at the end; empty where there is none."""
    done: set[str] = set()
    for start, first in nodes.items():
        if start in done:
            continue
        way, ahead, on_way = [start], [iter(first.parents)], {start}
        while way:
            onward = next((p.id for p in ahead[-1] if p.id in nodes and p.id not in done), None)
            if onward is None:  # a node is outside every circle once all its parents are
                ahead.pop()
                done.add(way[-1])
                on_way.remove(way.pop())
            elif onward in on_way:
                return [*way[way.index(onward) :], onward]
            else:
                way.append(onward)
                ahead.append(iter(nodes[onward].parents))
                on_way.add(onward)
    return []


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
