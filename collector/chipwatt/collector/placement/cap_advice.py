"""Whom to cap so that a node comes back below its limit. Advice alone: nobody here does it.

Lowest priority first, and of the same priority whoever has most to give first, as in
Dynamo (ISCA 2016). A host can give what it draws above its floor: half of its nameplate or,
where nobody gave one, half of what it draws, as chips keep running at about half of
their limit. What a cap saves at a node is the share of the host's power that
the node carries.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from chipwatt.collector.placement.power_event import CapAdvice
from chipwatt.collector.placement.topology import Topology
from chipwatt.core.tables import Array

FLOOR = 0.5
VALID_S = 60
"""How long advice stands; afterwards power has moved on."""
MAX_ADVICE = 100


def cap_advice(
    topology: Topology,
    position: int,
    need_mw: float,
    draw_mw: Array,
    heard: Array,
    priorities: Mapping[str, int],
) -> tuple[CapAdvice, ...]:
    """Return caps that together save ``need_mw`` at a node, or what the first 100 can save.

    ``draw_mw`` is per node, ``heard`` per host: who is silent would not follow. ``priorities``
    are by node id; a host without one comes first.
    """
    hosts = topology.hosts
    share = _share_of(topology, position)[hosts]
    ceiling_mw = np.where(topology.rated_mw > 0, topology.rated_mw, draw_mw)[hosts]
    able_mw = np.floor(draw_mw[hosts] - FLOOR * ceiling_mw)
    able_mw[~heard | (share <= 0)] = 0.0
    rows = np.flatnonzero(able_mw > 0)
    priority = np.array([priorities.get(topology.nodes[p].id, 0) for p in hosts[rows].tolist()])
    rows = rows[np.lexsort((-able_mw[rows] * share[rows], priority))][:MAX_ADVICE]
    advice = []
    for row in rows.tolist():
        if need_mw <= 0:
            break
        node_id = topology.nodes[hosts[row]].id
        cut_mw = int(min(able_mw[row], np.ceil(need_mw / share[row])))
        saving_mw = cut_mw * float(share[row])
        need_mw -= saving_mw
        advice.append(
            CapAdvice(
                target_id=node_id,
                cap_mw=int(draw_mw[hosts[row]]) - cut_mw,
                priority=priorities.get(node_id, 0),
                expected_saving_mw=int(saving_mw),
            )
        )
    return tuple(advice)


def _share_of(topology: Topology, position: int) -> Array:
    """Return the share of every node's power that ``position`` carries."""
    share = np.zeros(len(topology.nodes))
    share[position] = 1.0
    for level in reversed(topology.levels):
        np.add.at(share, level.children, share[level.above] * level.shares[:, 0])
    return share
