"""Which hosts live of one feed, UPS or PDU alone: what goes dark with it.

A host with two supplies outlives either, and its telemetry does not show which one
carries it. So a loss shows only in hosts all of whose ways up lead through the node,
whatever the shares: nodes that dominate them in the sense of flow graphs (Cooper,
Harvey and Kennedy 2001).
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from chipwatt.collector.placement.topology import NodeKind, Topology
from chipwatt.core.tables import Array

_SUPPLIES = (NodeKind.FEED, NodeKind.UPS, NodeKind.PDU)
_ROOT = -1
"""Stands above every root."""


def sole_supplies(topology: Topology) -> tuple[Array, Array]:
    """Return pairs (position of a feed, UPS or PDU; which of ``topology.hosts`` it alone feeds)."""
    above: list[int] = []
    depth: list[int] = []

    def common(one: int, other: int) -> int:
        while one != other:
            if other == _ROOT or (one != _ROOT and depth[one] >= depth[other]):
                one = above[one]
            else:
                other = above[other]
        return one

    for parents in topology.parents:  # parents stand before their children
        nearest = reduce(common, parents) if parents else _ROOT
        above.append(nearest)
        depth.append(1 + depth[nearest] if nearest != _ROOT else 1)
    pairs = []
    for row, position in enumerate(topology.hosts.tolist()):
        at = above[position]
        while at != _ROOT:
            if topology.nodes[at].kind in _SUPPLIES:
                pairs.append((at, row))
            at = above[at]
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]
