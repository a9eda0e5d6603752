"""GetTopology, WatchTopology, GetHeadroom, PredictPeak: messages in, messages out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from typing import Any

import grpc.aio

from chipwatt.collector.answering import Refused, invalid, not_found
from chipwatt.collector.latest import Latest
from chipwatt.collector.placement.asking import horizon_of, position_of, quantile_of, selected
from chipwatt.collector.placement.demand import parse_class_id
from chipwatt.collector.placement.headroom import NodeHeadroom, headrooms
from chipwatt.collector.placement.outlook import Asked, Outlook
from chipwatt.collector.placement.outlooks import OutlookSource
from chipwatt.collector.placement.peak_curve import RESOLUTIONS_S, peak_curve
from chipwatt.collector.placement.profiles import Profiles
from chipwatt.collector.placement.topology import WHOLE_PPM, PowerNode, Topology
from chipwatt.collector.placement.trust import provenance_message
from chipwatt.core.clock import NS_PER_S
from chipwatt.v1 import placement_pb2 as pb

MAX_NODES_ASKED = 10_000
MAX_PREDICTIONS_ASKED = 16
"""Horizons times quantiles of one request."""
_CURVE_PPM = (500_000, 900_000, 950_000, 990_000)
_WATCH_EVERY_S = 1.0
Context = grpc.aio.ServicerContext[Any, Any]


class PowerAnswers:
    """Called from several threads. Raises Refused."""

    def __init__(
        self,
        outlooks: OutlookSource,
        latest: Latest,
        profiles: Profiles,
        unix_ns: Callable[[], int],
    ) -> None:
        self._outlooks = outlooks
        self._latest = latest
        self._profiles = profiles
        self._unix_ns = unix_ns

    def get_topology(self, request: pb.GetTopologyRequest) -> pb.GetTopologyResponse:
        outlook = self._outlooks.latest()
        topology = self._topology_at(request.as_of_unix_ns, outlook)
        return self._topology_message(topology, outlook, request.root_id, request.depth)

    async def watch_topology(
        self, executor: Executor, request: pb.WatchTopologyRequest, context: Context
    ) -> AsyncIterator[pb.WatchTopologyResponse]:
        """Yield the topology, and again whenever another comes into force.

        Aborts where the root is unknown, also where a new topology has lost it.
        """
        loop = asyncio.get_running_loop()
        told = -1
        while True:
            outlook = await loop.run_in_executor(executor, self._outlooks.latest)
            topology = outlook.topology
            if topology.version != told:
                told = topology.version
                wanted = (topology, outlook, request.root_id, request.depth)
                try:
                    message = await loop.run_in_executor(executor, self._topology_message, *wanted)
                except Refused as refused:
                    await context.abort(refused.code, str(refused))
                yield pb.WatchTopologyResponse(topology=message)
            await asyncio.sleep(_WATCH_EVERY_S)

    def get_headroom(self, request: pb.GetHeadroomRequest) -> pb.GetHeadroomResponse:
        if len(request.node_ids) > MAX_NODES_ASKED:
            raise invalid(f"node_ids: {len(request.node_ids)} nodes, at most {MAX_NODES_ASKED}")
        outlook = self._outlooks.latest()
        asked = _asked(request, outlook)
        topology = outlook.topology
        chosen = selected(topology, request.selector)
        positions = [position_of(topology, name, "node_ids") for name in request.node_ids]
        if not positions:
            positions = list(range(len(topology.nodes)))
        if chosen is not None:
            positions = [p for p in positions if topology.nodes[p].id in chosen]
        beside = not request.HasField("include_reservations") or request.include_reservations
        found = headrooms(outlook, positions, asked, reserved=beside)
        return pb.GetHeadroomResponse(headrooms=map(_headroom_message, found))

    def predict_peak(self, request: pb.PredictPeakRequest) -> pb.PredictPeakResponse:
        outlook = self._outlooks.latest()
        horizon_s = horizon_of(request.horizon_s, outlook)
        quantiles_ppm = tuple(request.quantile_ppm) or _CURVE_PPM
        if len(quantiles_ppm) > MAX_PREDICTIONS_ASKED:
            raise invalid(f"quantile_ppm: {len(quantiles_ppm)}, at most {MAX_PREDICTIONS_ASKED}")
        quantiles = [quantile_of(ppm) for ppm in quantiles_ppm]
        resolution_s = request.resolution_s or 1
        if resolution_s not in RESOLUTIONS_S:
            known = ", ".join(map(str, RESOLUTIONS_S))
            raise invalid(f"resolution_s: {resolution_s} s is none of {known}")
        subject = request.WhichOneof("subject")
        if subject is None:
            raise invalid("subject: give node_id or class_id")
        if subject == "class_id":
            return self._of_class(request.class_id, horizon_s, quantiles, outlook)
        position = position_of(outlook.topology, request.node_id)
        curve = peak_curve(outlook, position, horizon_s, quantiles, resolution_s)
        trust = outlook.trust(position, horizon_s, quantiles[0])
        return pb.PredictPeakResponse(
            peaks=_peaks([(horizon_s, q) for q in quantiles], curve.peaks_mw),
            mean_mw=curve.mean_mw,
            time_of_peak_unix_ns=curve.peak_second * NS_PER_S,
            base_mw=curve.base_mw,
            time_of_day_mw=curve.time_of_day_mw,
            margin_mw=curve.margin_mw,
            provenance=provenance_message(trust),
        )

    def _of_class(
        self, class_id: str, horizon_s: int, quantiles: list[float], outlook: Outlook
    ) -> pb.PredictPeakResponse:
        """Answer for one workload of a class: its profile knows levels and the peaks of minutes."""
        profile = self._profiles.profile(parse_class_id(class_id, "class_id"), "")
        if profile is None:
            raise not_found(
                f"class_id: no profile of class {class_id} yet (it takes five windows of a minute)"
            )
        peaks = [profile.peak_within_mw(horizon_s, quantile) for quantile in quantiles]
        return pb.PredictPeakResponse(
            peaks=_peaks([(horizon_s, q) for q in quantiles], peaks),
            mean_mw=profile.mean_mw,
            base_mw=profile.mean_mw,
            margin_mw=peaks[0] - profile.mean_mw,
            provenance=provenance_message(outlook.trust_of_all()),
        )

    def _topology_at(self, unix_ns: int, outlook: Outlook) -> Topology:
        if not unix_ns:
            return outlook.topology
        if unix_ns < 0 or unix_ns > self._unix_ns():
            raise invalid(f"as_of_unix_ns: {unix_ns} is not in the past")
        found = self._outlooks.topology_at(unix_ns)
        if found is None:
            raise not_found(f"as_of_unix_ns: {unix_ns} is before what this collector remembers")
        return found

    def _topology_message(
        self, topology: Topology, outlook: Outlook, root_id: str, depth: int
    ) -> pb.GetTopologyResponse:
        trust = outlook.trust_of_all()
        if root_id:
            position_of(topology, root_id, "root_id")
            if root_id in outlook.topology.index:
                trust = outlook.trust_beneath(outlook.topology.index[root_id])
        hosts = {
            position: self._latest.resolve(topology.nodes[position].host)
            for position in topology.hosts.tolist()
        }
        return pb.GetTopologyResponse(
            nodes=[
                _node_message(node, hosts.get(topology.index[node.id]))
                for node in topology.subtree(root_id, depth)
            ],
            provenance=provenance_message(trust),
            version=topology.version,
            file_error=self._outlooks.topology_error,
        )


def _asked(request: pb.GetHeadroomRequest, outlook: Outlook) -> list[Asked]:
    """Return every horizon with every quantile, each once."""
    horizons = dict.fromkeys(horizon_of(h, outlook) for h in request.horizon_s or (0,))
    quantiles = dict.fromkeys(quantile_of(q) for q in request.quantile_ppm or (0,))
    if len(horizons) * len(quantiles) > MAX_PREDICTIONS_ASKED:
        raise invalid(
            f"quantile_ppm: {len(horizons)} horizons with {len(quantiles)} quantiles are more "
            f"than {MAX_PREDICTIONS_ASKED} predictions"
        )
    return [(horizon, quantile) for horizon in horizons for quantile in quantiles]


def _node_message(node: PowerNode, host: bytes | None) -> pb.PowerNode:
    message = pb.PowerNode(
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
        derate_ppm=node.derate_ppm,
        redundancy=pb.Redundancy.ValueType(node.redundancy),
        thermal_zone=node.thermal_zone,
        hw_class=node.hw_class,
        labels=node.labels,
    )
    if node.breaker is not None:
        message.breaker.trip_curve_id = node.breaker.trip_curve
        message.breaker.continuous_mw = node.breaker.continuous_mw
    return message


def _headroom_message(headroom: NodeHeadroom) -> pb.Headroom:
    asked = [one for one, _ in headroom.predicted_mw]
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
        provenance=provenance_message(headroom.trust),
        reserved_mw=headroom.reserved_mw,
        predicted=_peaks(asked, [peak for _, peak in headroom.predicted_mw]),
    )


def _peaks(asked: list[Asked], peaks_mw: list[int] | tuple[int, ...]) -> list[pb.PredictedPeak]:
    return [
        pb.PredictedPeak(
            horizon_s=horizon_s, quantile_ppm=round(quantile * WHOLE_PPM), peak_mw=peak_mw
        )
        for (horizon_s, quantile), peak_mw in zip(asked, peaks_mw, strict=True)
    ]
