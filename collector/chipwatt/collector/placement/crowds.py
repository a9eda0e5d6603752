"""Which power nodes may be shown by the second: those that single out no few hosts.

What a node draws is a sum over hosts, each with a weight. Hosts of the same weight in
every node that is shown are a crowd: whoever adds and subtracts what is shown learns
sums over whole crowds and nothing finer. So a node is shown only if every crowd keeps
``CROWD`` hosts. The nearer a node is to the hosts, the more a second matters to
its budget, so nodes are taken from the leaves up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from chipwatt.collector.forecast.contract import KINDS
from chipwatt.collector.placement.topology import Topology
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.tables import Array

if TYPE_CHECKING:
    from chipwatt.collector.placement.outlook import Outlook

CROWD: Final = 8
"""Fewer hosts are few. A host may be one device, and sums over fewer than eight single out one."""
_HEARD_S = 60
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


def hosts_behind(outlook: Outlook) -> Counter[int]:
    """Return by kind of node how many hosts are in the sums by which forecasts are judged.

    A node's peaks count only while all of its hosts are heard from.
    """
    topology, now_s = outlook.topology, outlook.as_of_unix_ns // NS_PER_S
    heard = outlook.newest_s[topology.hosts] > now_s - _HEARD_S
    above, beneath = topology.above, topology.beneath
    whole = (np.bincount(above, ~heard[beneath], len(topology.nodes)) == 0)[above]
    kinds = np.array([node.kind for node in topology.nodes], np.int64)[above]
    behind = np.zeros((KINDS, len(topology.hosts)), dtype=bool)
    behind[kinds[whole], beneath[whole]] = True
    hosts = behind.sum(axis=1)
    return Counter({kind: int(hosts[kind]) for kind in np.flatnonzero(hosts).tolist()})


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
