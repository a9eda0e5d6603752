"""Outlooks of fleets whose every second is given: real telemetry arrays, sums and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from chipwatt.collector.latest import Latest
from chipwatt.collector.placement.outlook import Outlook
from chipwatt.collector.placement.predictions import Predictions
from chipwatt.collector.placement.sums import Sums
from chipwatt.collector.placement.topology import NodeKind, Parent, PowerNode, Topology
from chipwatt.collector.rings import RING_S
from chipwatt.collector.store.contract import Block
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.columns import COLUMNS, SectionKind
from chipwatt.core.model import Flag
from chipwatt.core.tables import Array, Table
from fakes.telemetry_records import T0_S, a_host

NOW_S = T0_S + RING_S
W = 1_000


def take_seconds(
    latest: Latest, hosts: Sequence[bytes], first_s: int, mean_mw: Array, peak_mw: Array
) -> None:
    """Let hosts report consecutive seconds from ``first_s`` on; rows are hosts."""
    count, seconds = mean_mw.shape
    columns = {
        spec.name: np.zeros(count * seconds, dtype=spec.dtype)
        for spec in COLUMNS[SectionKind.HOST_SECOND]
    }
    columns["start_unix_ns"][:] = np.tile(np.arange(first_s, first_s + seconds), count) * NS_PER_S
    columns["duration_ns"][:] = NS_PER_S
    columns["cpu_mj"][:] = mean_mw.ravel()
    columns["total_peak_mw"][:] = peak_mw.ravel()
    columns["flags"][:] = int(Flag.ROOT)
    owners = np.repeat(np.arange(count), seconds)
    table = Table(SectionKind.HOST_SECOND, count * seconds, columns)
    nothing = np.zeros(0, dtype=np.int64)
    latest.take_blocks([Block(0, SectionKind.HOST_SECOND, owners, nothing, table)], hosts, [])


def outlook_of(
    topology: Topology,
    powers_mw: Mapping[str, Array | int],
    reserved_mw: Mapping[str, int] | None = None,
    name: str = "moment-1",
) -> Outlook:
    """Return the outlook after ten minutes; ``powers_mw`` by host node: 600 means, or one.

    Hosts that are not named were never heard from.
    """
    latest = Latest()
    ids: list[bytes | None] = []
    for row, position in enumerate(topology.hosts.tolist()):
        given = powers_mw.get(topology.nodes[position].id)
        if given is None:
            ids.append(None)
            continue
        series = np.broadcast_to(np.asarray(given), (1, RING_S))
        take_seconds(latest, [a_host(row)], T0_S + 1, series, series)
        ids.append(a_host(row))
    sums = Sums(topology, latest)
    sums.resolve(ids, NOW_S)
    now = sums.look(NOW_S)
    reserved = np.zeros(len(topology.nodes))
    for node_id, power_mw in (reserved_mw or {}).items():
        reserved[topology.index[node_id]] = power_mw
    return Outlook(name, NOW_S * NS_PER_S, now, reserved, Predictions(topology, sums.hung))


def dual_fed_rooms(
    *, rack_mw: int = 0, pdu_mw: int = 0, site_mw: int = 0, host_mw: int = 0, hosts: int = 4
) -> Topology:
    """Return two racks on two feeds: hosts h0, h1 on rack r0, h2, h3 on r1; budgets where given."""
    nodes = [PowerNode("site", NodeKind.SITE, budget_mw=site_mw)]
    nodes += [
        PowerNode(f"pdu-{feed}", NodeKind.PDU, (Parent("site", feed),), budget_mw=pdu_mw)
        for feed in "ab"
    ]
    both = (Parent("pdu-a", "A", 500_000), Parent("pdu-b", "B", 500_000))
    nodes += [PowerNode(f"r{r}", NodeKind.RACK, both, budget_mw=rack_mw) for r in range(2)]
    nodes += [
        PowerNode(
            f"h{h}", NodeKind.HOST, (Parent(f"r{2 * h // hosts}"),), host_mw, budget_mw=host_mw
        )
        for h in range(hosts)
    ]
    return Topology(nodes)
