"""Whether power fits: at a node and every ancestor, beside what is predicted and reserved.

And up to when telemetry has told everything, so that reservations need not count any longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chipwatt.collector.placement.topology import Topology
from chipwatt.core.tables import Array

if TYPE_CHECKING:
    from chipwatt.collector.placement.outlook import Outlook

_ROUNDING_MW = 1e-3
"""Shares are fractions: without it 0.5 W + 0.5 W could round up past 1 W."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """The node at which most is missing; mW."""

    node_id: str
    missing_mw: int
    allowed_mw: int
    """Budget less margin."""
    peak_mw: int
    """Predicted."""
    reserved_mw: int
    asked_mw: int


def shortage(
    outlook: Outlook, peak_mw: Array, reserved_mw: Mapping[str, int], grants: Mapping[int, int]
) -> Shortage | None:
    """Return where ``grants`` (mW by position) do not fit; None: they do.

    ``peak_mw`` is the outlook's, per node; ``reserved_mw`` what is reserved now, by node id.
    Where several budgets are too small it is the one that lacks most.
    """
    worst: Shortage | None = None
    for position, asked_mw in sorted(grants.items()):
        if not np.isfinite(outlook.allowed_mw[position]):
            continue
        node_id = outlook.topology.nodes[position].id
        allowed_mw = int(outlook.allowed_mw[position])
        predicted_mw = int(np.ceil(peak_mw[position] - _ROUNDING_MW))
        held_mw = reserved_mw.get(node_id, 0)
        missing_mw = predicted_mw + held_mw + asked_mw - allowed_mw
        if missing_mw > (worst.missing_mw if worst else 0):
            worst = Shortage(node_id, missing_mw, allowed_mw, predicted_mw, held_mw, asked_mw)
    return worst


def heard_until_s(topology: Topology, newest_s: Array) -> Array:
    """Return per node up to which second, since 1970, every host beneath it has been heard.

    ``newest_s`` is per host the newest second, 0 where there is none. 0 also where no host
    stands beneath. Telemetry that old or older absorbs a committed reservation. A rise of
    the node's power would prove nothing, as another workload's start looks the same; nor
    would time alone, as telemetry may be late.
    """
    until_s = np.full(len(topology.nodes), np.iinfo(np.int64).max)
    np.minimum.at(until_s, topology.above, newest_s[topology.beneath])
    until_s[until_s == np.iinfo(np.int64).max] = 0
    return until_s
