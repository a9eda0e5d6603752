"""Every way from a node up to the roots, with the share of its power that goes there.

Hosts that hang on the same parents by the same shares have the same ways, so
these are laid out once a group of hosts and not once a host.
"""

from __future__ import annotations

import heapq

import numpy as np

from chipwatt.collector.placement.topology import WHOLE_PPM, NodeKind, Parent, Topology
from chipwatt.core.tables import Array

_Up = dict[int, float]
"""Position to share."""


def ways_up(topology: Topology, position: int) -> tuple[Array, Array]:
    """Return the positions of a node and of everything above it, and the share of its power there.

    Parents stand first, as everywhere. A node above on several ways carries the sum.
    """
    up: _Up = {position: 1.0}
    ahead = [-position]
    while ahead:
        # Children stand behind their parents: the last one's share is whole when it is met.
        at = -heapq.heappop(ahead)
        for parent, given in zip(topology.parents[at], topology.nodes[at].parents, strict=True):
            if parent not in up:
                up[parent] = 0.0
                heapq.heappush(ahead, -parent)
            up[parent] += up[at] * given.share_ppm / WHOLE_PPM
    order = sorted(up)
    return np.array(order, dtype=np.int64), np.array([up[at] for at in order])


class HostWays:
    """The ways of all hosts of a topology, dense and padded for numpy.

    Row ``group[h]`` holds what is above ``topology.hosts[h]``, without the host itself;
    it is filled up with the position behind the last node, at share 0.
    """

    def __init__(self, topology: Topology) -> None:
        self.nowhere = len(topology.nodes)
        places: dict[tuple[Parent, ...], int] = {}
        classes: dict[str, int] = {}
        group, hw_class = [], []
        for position in topology.hosts.tolist():
            node = topology.nodes[position]
            group.append(places.setdefault(node.parents, len(places)))
            hw_class.append(classes.setdefault(node.hw_class, len(classes)))
        self.group = np.array(group, dtype=np.int64)
        """A host's row in ``ancestors``; hosts as in ``topology.hosts``."""
        self.hw_class = np.array(hw_class, dtype=np.int64)
        """A host's place in ``hw_classes``."""
        self.hw_classes = list(classes)
        inner = _inner_ways(topology)
        ups = [_merged(topology, parents, inner) for parents in places]
        width = max((len(up) for up in ups), default=0) + 1
        self.ancestors = np.full((len(ups), width), self.nowhere, dtype=np.int64)
        self.shares = np.zeros((len(ups), width))
        for row, up in enumerate(ups):
            order = sorted(up)
            self.ancestors[row, : len(order)] = order
            self.shares[row, : len(order)] = [up[position] for position in order]
        self.row = np.full(len(topology.nodes), -1, dtype=np.int64)
        """A position's place in ``topology.hosts``; -1: no host."""
        self.row[topology.hosts] = np.arange(len(topology.hosts))
        self.sites, self.site = self._sites(topology)

    def _sites(self, topology: Topology) -> tuple[list[str], Array]:
        """Return the ids of sites, and each group's place among them; -1: none above."""
        found = [i for i, node in enumerate(topology.nodes) if node.kind is NodeKind.SITE]
        place = np.full(self.nowhere + 1, len(found), dtype=np.int64)
        place[found] = np.arange(len(found))
        first = place[self.ancestors].min(axis=1)
        return [topology.nodes[i].id for i in found], np.where(first == len(found), -1, first)


def _inner_ways(topology: Topology) -> dict[int, _Up]:
    ways: dict[int, _Up] = {}
    for position, node in enumerate(topology.nodes):
        if node.kind not in (NodeKind.HOST, NodeKind.CHIP):
            ways[position] = {position: 1.0, **_merged(topology, node.parents, ways)}
    return ways


def _merged(topology: Topology, parents: tuple[Parent, ...], ways: dict[int, _Up]) -> _Up:
    up: _Up = {}
    for parent in parents:
        share = parent.share_ppm / WHOLE_PPM
        for position, part in ways[topology.index[parent.id]].items():
            up[position] = up.get(position, 0.0) + share * part
    return up
