"""Questions of a placement service: what fits where, what would happen if, power set aside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import grpc

from chipwatt.client import decisions as d
from chipwatt.client import placement_values as v
from chipwatt.client.reading import number, read, write
from chipwatt.client.reading import request as asked
from chipwatt.client.sites import SiteClient
from chipwatt.v1 import placement_pb2 as pb

_CHANGES: dict[type, str] = {
    d.PlaceChange: "place",
    d.RemoveChange: "remove",
    d.MoveChange: "move",
    d.CapChange: "cap",
    d.BudgetChange: "budget",
    d.FeedLoss: "feed_loss",
}


class PlacementClient(SiteClient):
    """Asks one collector's PlacementService. Safe between threads; a context manager.

    Every method raises CollectorUnreachable where nothing answers within
    ``timeout_s`` and a RequestRefused where the collector says no: InvalidRequest,
    NotKnown, AlreadyTaken, NoRoom, WrongState. A horizon or a quantile of 0 is the
    collector's own default.
    """

    def topology(
        self, root_id: str = "", *, depth: int = 0, as_of_unix_ns: int = 0
    ) -> v.TopologyInfo:
        """Return the power topology, or what hangs on one node of it, ``depth`` levels down."""
        request = asked(
            pb.GetTopologyRequest, root_id=root_id, depth=depth, as_of_unix_ns=as_of_unix_ns
        )
        return read(v.TopologyInfo, self._call(self._placement.GetTopology, request))

    def watch_topology(self, root_id: str = "", *, depth: int = 0) -> Iterator[v.TopologyInfo]:
        """Return the topology now and again whenever its file is loaded anew; has no deadline."""
        request = asked(pb.WatchTopologyRequest, root_id=root_id, depth=depth)
        for response in self._stream(self._placement.WatchTopology, request):
            yield read(v.TopologyInfo, response.topology)

    def headroom(
        self,
        node_ids: Iterable[str] = (),
        *,
        selector: v.Selector | None = None,
        horizons_s: Iterable[int] = (),
        quantiles_ppm: Iterable[int] = (),
        include_reservations: bool = True,
    ) -> tuple[v.HeadroomInfo, ...]:
        """Return power and headroom of these nodes; of every node where none is named."""
        request = asked(
            pb.GetHeadroomRequest,
            node_ids=node_ids,
            horizon_s=horizons_s,
            quantile_ppm=quantiles_ppm,
            include_reservations=include_reservations,
        )
        _put_selector(selector, request)
        response = self._call(self._placement.GetHeadroom, request)
        return tuple(map(_headroom, response.headrooms))

    def predict_peak(
        self,
        node_id: str = "",
        *,
        class_id: str = "",
        horizon_s: int = 0,
        quantiles_ppm: Iterable[int] = (),
        resolution_s: int = 0,
    ) -> v.PeakInfo:
        """Return how high a node, or one workload of a class, will go within ``horizon_s``."""
        request = asked(
            pb.PredictPeakRequest,
            horizon_s=horizon_s,
            quantile_ppm=quantiles_ppm,
            resolution_s=resolution_s,
        )
        if class_id:
            request.class_id = class_id
        else:
            request.node_id = node_id
        return read(v.PeakInfo, self._call(self._placement.PredictPeak, request))

    def profile(
        self, class_id: str = "", *, workload_id: str = "", hw_class: str = "", phase: str = ""
    ) -> v.ProfilesInfo:
        """Return what workloads of a class, or of a workload's class, draw: one profile.

        Raises NotKnown where the workload's class, or enough of the class, is not known.
        """
        request = asked(
            pb.GetProfileRequest, class_id=class_id, workload_id=workload_id, hw_class=hw_class
        )
        _put_word(request, "phase", phase)
        response = self._call(self._placement.GetProfile, request)
        return v.ProfilesInfo(
            (read(v.PowerProfile, response.profile),), read(v.Provenance, response.provenance)
        )

    def profiles(self, *, hw_class: str = "", phase: str = "") -> v.ProfilesInfo:
        """Return every profile with enough windows behind it, or those seen in a phase."""
        request = asked(pb.ListProfilesRequest, hw_class=hw_class)
        _put_word(request, "phase", phase)
        return read(v.ProfilesInfo, self._call(self._placement.ListProfiles, request))

    def rank(
        self,
        demand: d.Demand,
        candidates: Iterable[str] = (),
        *,
        horizon_s: int = 0,
        quantile_ppm: int = 0,
        objective: d.Objective | None = None,
        limit: int = 0,
        timeout_s: float | None = None,
    ) -> d.Ranking:
        """Return how well each host would do, best first; of every host where none is named."""
        request = asked(
            pb.RankCandidatesRequest,
            demand=write(demand, pb.Demand()),
            candidates=candidates,
            horizon_s=horizon_s,
            quantile_ppm=quantile_ppm,
            limit=limit,
        )
        if objective is not None:
            write(objective, request.objective)
        response = self._call(self._placement.RankCandidates, request, timeout_s)
        return read(d.Ranking, response)

    def what_if(
        self,
        changes: Iterable[d.Change],
        *,
        snapshot_id: str = "",
        horizon_s: int = 0,
        quantile_ppm: int = 0,
    ) -> d.WhatIfInfo:
        """Return what the changes, made together, would do; nothing of it is kept."""
        request = asked(
            pb.WhatIfRequest,
            snapshot_id=snapshot_id,
            horizon_s=horizon_s,
            quantile_ppm=quantile_ppm,
        )
        for change in changes:
            write(change, getattr(request.changes.add(), _CHANGES[type(change)]))
        return read(d.WhatIfInfo, self._call(self._placement.WhatIf, request))

    def reserve(
        self,
        idempotency_key: str,
        node_id: str,
        demand: d.Demand,
        *,
        ttl_s: int = 0,
        horizon_s: int = 0,
        quantile_ppm: int = 0,
        timeout_s: float | None = None,
    ) -> d.Reservation:
        """Set power aside at a node and everything above it for ``ttl_s`` (0: 60).

        The same key with the same body gives the same reservation again. Raises
        NoRoom where a budget would be exceeded, AlreadyTaken for the key of another body.
        """
        request = asked(
            pb.ReserveRequest,
            idempotency_key=idempotency_key,
            node_id=node_id,
            demand=write(demand, pb.Demand()),
            ttl_s=ttl_s,
            horizon_s=horizon_s,
            quantile_ppm=quantile_ppm,
        )
        response = self._call(self._placement.Reserve, request, timeout_s)
        return read(d.Reservation, response.reservation)

    def commit(
        self, reservation_id: str, workload_id: str, *, timeout_s: float | None = None
    ) -> d.Reservation:
        """Bind a reservation to a workload (32 hexadecimal digits); it no longer expires."""
        request = asked(pb.CommitRequest, reservation_id=reservation_id, workload_id=workload_id)
        response = self._call(self._placement.Commit, request, timeout_s)
        return read(d.Reservation, response.reservation)

    def release(self, reservation_id: str, *, timeout_s: float | None = None) -> d.Reservation:
        """Give a reservation's power back."""
        request = asked(pb.ReleaseRequest, reservation_id=reservation_id)
        response = self._call(self._placement.Release, request, timeout_s)
        return read(d.Reservation, response.reservation)

    def reservations(
        self, node_id: str = "", *, state: str = "", timeout_s: float | None = None
    ) -> tuple[d.Reservation, ...]:
        """Return reservations at a node or all, held and committed where no state is named."""
        request = asked(pb.ListReservationsRequest, node_id=node_id)
        _put_word(request, "state", state)
        response = self._call(self._placement.ListReservations, request, timeout_s)
        return tuple(read(d.Reservation, message) for message in response.reservations)

    def watch_events(
        self,
        *,
        selector: v.Selector | None = None,
        min_severity: str = "",
        resume_token: str = "",
    ) -> Iterator[d.EventNotice]:
        """Return events as they come, after ``resume_token`` or from now on; has no deadline."""
        request = asked(pb.WatchPowerEventsRequest, resume_token=resume_token)
        _put_selector(selector, request)
        _put_word(request, "min_severity", min_severity)
        for response in self._stream(self._placement.WatchPowerEvents, request):
            yield read(d.EventNotice, response)

    def feedback(
        self,
        placement_id: str,
        chosen_host_id: str,
        *,
        capped: bool = False,
        violated: bool = False,
        throttled_s: int = 0,
    ) -> int:
        """Say what became of a decision; returns how many such the collector has."""
        request = asked(
            pb.SubmitFeedbackRequest,
            placement_id=placement_id,
            chosen_host_id=chosen_host_id,
            capped=capped,
            violated=violated,
            throttled_s=throttled_s,
        )
        return int(self._call(self._placement.SubmitFeedback, request).feedback_count)

    def _stream(self, method: Any, request: Any) -> Iterator[Any]:
        self._check_open()
        call = method(request)
        try:
            yield from call
        except grpc.RpcError as error:
            raise self._sentence(error, self._timeout_s) from None
        finally:
            call.cancel()


def _headroom(message: pb.Headroom) -> v.HeadroomInfo:
    return v.HeadroomInfo(
        node_id=message.node_id,
        now_mw=message.now_mw,
        mean_mw=message.mean_mw,
        peak_1s_mw=message.peak_1s_mw,
        predicted_peak_mw=message.predicted_peak_mw,
        budget_mw=message.budget_mw,
        headroom_mw=None if message.unlimited else message.headroom_mw,
        binding_node_id=message.binding_node_id,
        provenance=read(v.Provenance, message.provenance),
        reserved_mw=message.reserved_mw,
        predicted=tuple(read(v.PredictedPeak, peak) for peak in message.predicted),
    )


def _put_selector(selector: v.Selector | None, request: Any) -> None:
    """Fill the request's selector; raises InvalidRequest for a kind that does not exist."""
    if selector is not None:
        write(selector, request.selector)


def _put_word(request: Any, field: str, word: str) -> None:
    """Set an enum by its word, "" for none; raises InvalidRequest for a word that is none."""
    setattr(request, field, number(word, request.DESCRIPTOR.fields_by_name[field]))
