"""A rack, and reservations in it, to fill books with."""

from __future__ import annotations

from dataclasses import replace

from chipwatt.collector.placement.reservation import Reservation, ReservationState
from chipwatt.collector.placement.topology import NodeKind, Parent, PowerNode, Topology
from chipwatt.core.clock import NS_PER_S

T0_NS = 1_790_000_000 * NS_PER_S


def rack(hosts: int = 3) -> Topology:
    nodes = [PowerNode("site", NodeKind.SITE), PowerNode("rack", NodeKind.RACK, (Parent("site"),))]
    nodes += [PowerNode(f"h{i}", NodeKind.HOST, (Parent("rack"),)) for i in range(hosts)]
    return Topology(nodes)


def held(
    number: int, node_id: str = "h0", power_mw: int = 100, *, ttl_s: int = 60, now_ns: int = T0_NS
) -> Reservation:
    return Reservation(
        id=f"id-{number}",
        key=f"key-{number}",
        node_id=node_id,
        body=b"body",
        power_mw=power_mw,
        priority=number,
        state=ReservationState.HELD,
        created_unix_ns=now_ns,
        expires_unix_ns=now_ns + ttl_s * NS_PER_S,
        grants=((node_id, power_mw), ("rack", power_mw), ("site", power_mw)),
    )


def committed(of: Reservation, now_ns: int = T0_NS) -> Reservation:
    return replace(
        of, state=ReservationState.COMMITTED, workload=bytes(16), committed_unix_ns=now_ns
    )
