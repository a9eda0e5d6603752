"""What a reservation is: power set aside at a node and at everything above it, and its life.

::

    HELD ── Commit ──► COMMITTED ── telemetry shows it ──► ABSORBED ── Release ──► RELEASED
      ├── Release ──► RELEASED ◄── Release ──┘
      └── its time passes ──► EXPIRED

Held and committed ones count against every budget above their node; the others do not.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction

from chipwatt.collector.placement.topology import WHOLE_PPM, Topology


class ReservationState(IntEnum):
    """Where a reservation is in its life; numbers equal those of ``chipwatt.v1``."""

    HELD = 1
    COMMITTED = 2
    RELEASED = 3
    EXPIRED = 4
    ABSORBED = 5
    """Telemetry shows it by now."""


LIVE = (ReservationState.HELD, ReservationState.COMMITTED)
"""States that count."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """One reservation; a change of its state is a new value."""

    id: str
    key: str
    """The client's idempotency key."""
    node_id: str
    body: bytes
    """The request without its key, serialised: what the same key must come with again."""
    power_mw: int
    """Granted at the node itself."""
    priority: int
    state: ReservationState
    created_unix_ns: int
    expires_unix_ns: int
    grants: tuple[tuple[str, int], ...]
    """Node id and mW, of the node and every ancestor as they were when it was made."""
    workload: bytes = b""
    """16 bytes; after Commit."""
    committed_unix_ns: int = 0
    ended_unix_ns: int = 0
    """When it ceased to count; 0 before."""

    @property
    def is_live(self) -> bool:
        return self.state in LIVE


def grants_of(topology: Topology, position: int, power_mw: int) -> dict[int, int]:
    """Return mW by position: ``power_mw`` at a node, and what of it each ancestor carries.

    By share, over every feed, exactly; a fraction of a milliwatt is rounded up.
    """
    carried = {position: Fraction(power_mw)}
    waiting = [-position]
    while waiting:  # the highest position first: a node's children all stand behind it
        child = -heapq.heappop(waiting)
        edges = zip(topology.parents[child], topology.nodes[child].parents, strict=True)
        for above, parent in edges:
            if above not in carried:
                carried[above] = Fraction(0)
                heapq.heappush(waiting, -above)
            carried[above] += carried[child] * Fraction(parent.share_ppm, WHOLE_PPM)
    return {at: -(-load.numerator // load.denominator) for at, load in carried.items()}


def counted_grants(topology: Topology, reservation: Reservation) -> Mapping[str, int]:
    """Return mW by node id that a reservation takes in ``topology``.

    A node that has moved takes them where it hangs now. A node that is gone keeps what it
    was granted at the ancestors that are still there.
    """
    position = topology.index.get(reservation.node_id)
    if position is None:
        return {node: mw for node, mw in reservation.grants if node in topology.index}
    grants = grants_of(topology, position, reservation.power_mw)
    return {topology.nodes[at].id: mw for at, mw in grants.items()}
