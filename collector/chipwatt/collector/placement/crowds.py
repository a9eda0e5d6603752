"""Which power nodes may be shown by the second: those that single out no few hosts.

What a node draws is a sum over hosts, each with a weight. Hosts of the same weight in
every node that is shown are a crowd: whoever adds and subtracts what is shown learns
sums over whole crowds and nothing finer. So a node is shown only if every crowd keeps
``CROWD`` hosts. The nearer a node is to the hosts, the more a second matters to
its budget, so nodes are taken from the leaves up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from chipwatt.collector.placement.topology import Topology
from chipwatt.core.tables import Array

CROWD: Final = 5
"""Hosts that are few: as many as the minutes that a class profile waits for (design §7)."""
_WHOLE: Final = 1 << 31
"""More than the weight of a whole host, which is a billion: what differs by less is the same."""


def few_hosts(topology: Topology) -> Array:
    """Return per node whether its seconds would tell of fewer than ``CROWD`` hosts."""
    few = np.zeros(len(topology.nodes), dtype=bool)
    few[topology.hosts] = True
    crowd = np.zeros(len(topology.hosts), dtype=np.int64)
    sizes = [0]
    """By crowd; the first are hosts that nothing shown tells of."""
    for position, rows, weights in _weights(topology):
        pairs = crowd[rows] * _WHOLE + weights
        parts, part, counts = np.unique(pairs, return_inverse=True, return_counts=True)
        split, of = np.unique(parts // _WHOLE, return_inverse=True)
        left = np.array([sizes[number] for number in split]) - np.bincount(of, counts).astype(int)
        few[position] = counts.min() < CROWD or ((left > 0) & (left < CROWD)).any()
        if not few[position]:
            crowd[rows] = len(sizes) + part
            for number, size in zip(split.tolist(), left.tolist(), strict=True):
                sizes[number] = size
            sizes += counts.tolist()
    return few


def _weights(topology: Topology) -> Iterator[tuple[int, Array, Array]]:
    """Yield every node above hosts, children first.

    That is (position, places in ``hosts``, weights in billionths).
    """
    row = np.full(len(topology.nodes), -1)
    row[topology.hosts] = np.arange(len(topology.hosts))
    found: dict[int, tuple[Array, Array]] = {}
    for level in topology.levels:
        ends = np.append(level.starts[1:], len(level.children))
        for parent, start, end in zip(level.parents.tolist(), level.starts, ends, strict=True):
            children, shares = level.children[start:end], level.shares[start:end, 0]
            direct = row[children] >= 0
            pairs = [(row[children[direct]], shares[direct])]
            for child, share in zip(children[~direct].tolist(), shares[~direct], strict=True):
                if child in found:
                    rows, weights = found[child]
                    pairs.append((rows, weights * share))
            if parent in found:  # some of its children stand on a deeper level
                pairs.append(found[parent])
            rows, back = np.unique(np.concatenate([r for r, _ in pairs]), return_inverse=True)
            if len(rows):
                weights = np.bincount(back, np.concatenate([w for _, w in pairs]))
                found[parent] = (rows, weights)
    for position in sorted(found, reverse=True):
        if row[position] < 0:
            rows, weights = found[position]
            yield position, rows, np.rint(weights * 1e9).astype(np.int64)
