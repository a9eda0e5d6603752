"""``chipwatt.v1.PlacementService``: topology and headroom. It advises; it never actuates."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import grpc.aio

from chipwatt.collector.answering import answer, invalid, not_found
from chipwatt.collector.latest import Latest
from chipwatt.collector.placement.headroom import (
    NodeHeadroom,
    Trust,
    compute_headroom,
    trust_beneath,
)
from chipwatt.collector.placement.topology import PowerNode, Topology, flat
from chipwatt.collector.placement.topology_file import nearest
from chipwatt.core import log
from chipwatt.core.clock import NS_PER_S
from chipwatt.v1 import placement_pb2 as pb
from chipwatt.v1 import placement_pb2_grpc

_log = log.get(__name__)
MAX_NODES_ASKED = 10_000
Context = grpc.aio.ServicerContext[Any, Any]
_Graph = tuple[Topology, list[bytes | None]]


class Placement:
    """Answers without the network; called from several threads.

    Without a topology file every known host hangs on one site, so the graph
    grows as hosts appear. Headroom is computed once a second for everybody.
    """

    def __init__(
        self, topology: Topology | None, latest: Latest, unix_ns: Callable[[], int]
    ) -> None:
        self._given = topology
        self._latest = latest
        self._unix_ns = unix_ns
        self._lock = threading.Lock()
        self._membership = -1
        self._graph: _Graph = (Topology([]), [])
        self._computed_s = -1
        self._computed: list[NodeHeadroom] = []

    def get_topology(self, request: pb.GetTopologyRequest) -> pb.GetTopologyResponse:
        with self._lock:
            topology, hosts = self._current()
        root = request.root_id
        if root:
            _check_node(topology, root, "root_id")
        trust = trust_beneath(topology, root, hosts, self._latest, self._unix_ns())
        known = {
            topology.nodes[position].id: host
            for position, host in zip(topology.hosts.tolist(), hosts, strict=True)
        }
        nodes = topology.subtree(root) if root else topology.nodes
        return pb.GetTopologyResponse(
            nodes=[_node_message(node, known.get(node.id)) for node in nodes],
            provenance=_provenance_message(trust),
        )

    def get_headroom(self, request: pb.GetHeadroomRequest) -> pb.GetHeadroomResponse:
        if len(request.node_ids) > MAX_NODES_ASKED:
            raise invalid(f"node_ids: {len(request.node_ids)} nodes, at most {MAX_NODES_ASKED}")
        with self._lock:
            topology, hosts = self._current()
            for node_id in request.node_ids:
                _check_node(topology, node_id, "node_ids")
            now_unix_ns = self._unix_ns()
            if self._computed_s != now_unix_ns // NS_PER_S:
                self._computed = compute_headroom(topology, hosts, self._latest, now_unix_ns)
                self._computed_s = now_unix_ns // NS_PER_S
            computed = self._computed
        wanted = [computed[topology.index[node_id]] for node_id in request.node_ids]
        return pb.GetHeadroomResponse(headrooms=map(_headroom_message, wanted or computed))

    def _current(self) -> _Graph:
        """Return the graph and the hosts behind it, renewed where hosts have appeared."""
        membership = self._latest.membership
        if self._membership != membership:
            known = [(host.hex(), name) for host, name in self._latest.hosts()]
            topology = self._given or flat(known)
            hosts = [
                self._latest.resolve(topology.nodes[position].host)
                for position in topology.hosts.tolist()
            ]
            self._graph, self._membership, self._computed_s = (topology, hosts), membership, -1
            strangers = {host for host, _ in known} - {host.hex() for host in hosts if host}
            if strangers:
                _log.warning("hosts report that the topology lacks", hosts=len(strangers))
        return self._graph


class PlacementServicer(placement_pb2_grpc.PlacementServiceServicer):
    """Computes in ``executor``; the event loop belongs to the agents' streams."""

    def __init__(self, placement: Placement, executor: Executor) -> None:
        self._placement = placement
        self._executor = executor

    async def GetTopology(
        self, request: pb.GetTopologyRequest, context: Context
    ) -> pb.GetTopologyResponse:
        return await answer(self._executor, context, self._placement.get_topology, request)

    async def GetHeadroom(
        self, request: pb.GetHeadroomRequest, context: Context
    ) -> pb.GetHeadroomResponse:
        return await answer(self._executor, context, self._placement.get_headroom, request)


def _check_node(topology: Topology, node_id: str, field: str) -> None:
    if node_id not in topology.index:
        hint = nearest(node_id, topology.index)
        raise not_found(f"{field}: no power node {node_id!r}{hint}")


def _node_message(node: PowerNode, host: bytes | None) -> pb.PowerNode:
    return pb.PowerNode(
        id=node.id,
        kind=pb.NodeKind.ValueType(node.kind),
        parents=[
            pb.Parent(id=parent.id, feed=parent.feed, share_ppm=parent.share_ppm)
            for parent in node.parents
        ],
        rated_mw=node.rated_mw,
        budget_mw=node.budget_mw,
        safety_margin_ppm=node.safety_margin_ppm,
        host_id=host.hex() if host else "",
    )


def _headroom_message(headroom: NodeHeadroom) -> pb.Headroom:
    return pb.Headroom(
        node_id=headroom.node_id,
        now_mw=headroom.now_mw,
        mean_mw=headroom.mean_mw,
        peak_1s_mw=headroom.peak_1s_mw,
        predicted_peak_mw=headroom.predicted_peak_mw,
        budget_mw=headroom.budget_mw,
        headroom_mw=headroom.headroom_mw or 0,
        binding_node_id=headroom.binding_node_id,
        unlimited=headroom.headroom_mw is None,
        provenance=_provenance_message(headroom.trust),
    )


def _provenance_message(trust: Trust) -> pb.Provenance:
    return pb.Provenance(
        as_of_unix_ns=trust.as_of_unix_ns,
        staleness_ms=trust.staleness_ms,
        reporting_ppm=trust.reporting_ppm,
        predictor=pb.Predictor.ValueType(trust.predictor),
        quality=[pb.Quality.ValueType(quality) for quality in trust.quality],
    )
