"""A placement service with one rack of hosts, kept in a dict, that misbehaves on demand.

A real grpc server on a real socket. It keeps every request as it came over the wire.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from chipwatt.v1 import placement_pb2 as pb
from chipwatt.v1.placement_pb2_grpc import add_PlacementServiceServicer_to_server
from fakes.placement_facts import NOW_UNIX_NS, PROVENANCE, PlacementFacts

KNOWN_CLASS = "ab" * 16
CLASS_PEAK_MW = 400_000


@dataclass
class Behaviour:
    """What the next questions meet."""

    abort: tuple[grpc.StatusCode, str] | None = None
    wait_s: float = 0.0
    events: list[pb.WatchPowerEventsResponse] = field(default_factory=list)
    stay_open: bool = False
    """An event stream does not end by itself."""


class PlacementServer(PlacementFacts):
    """A rack ``r`` with hosts; what is reserved leaves less room."""

    def __init__(self, hosts: tuple[str, ...] = ("n1", "n2"), budget_mw: int = 10_000_000) -> None:
        super().__init__()
        self.hosts, self.budget_mw = hosts, budget_mw
        self.behaviour = Behaviour()
        self.requests: list[Any] = []
        self.wire: list[bytes] = []
        self.few: set[str] = set()
        """Nodes that are answered for by the minute."""
        self.book: dict[str, pb.Reservation] = {}
        self.now_unix_ns: Callable[[], int] = lambda: NOW_UNIX_NS
        self._bodies: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self.address = ""

    def room_mw(self) -> int:
        live = (pb.RESERVATION_STATE_HELD, pb.RESERVATION_STATE_COMMITTED)
        return self.budget_mw - sum(
            r.grants[0].granted_mw for r in self.book.values() if r.state in live
        )

    def kinds(self) -> list[str]:
        return [type(request).__name__.removesuffix("Request") for request in self.requests]

    def RankCandidates(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        self.met(request, context)
        peak_mw = self._peak_mw(request.demand, context)
        found = []
        for place, name in enumerate(request.candidates or self.hosts):
            known = name in self.hosts
            left_mw = self.room_mw() - peak_mw
            fits = known and left_mw >= 0
            reason = (
                () if fits else (pb.REASON_OVER_BUDGET,) if known else (pb.REASON_UNKNOWN_HOST,)
            )
            found.append(
                pb.Candidate(
                    host_id=name,
                    feasible=fits,
                    score_ppm=max(0, 950_000 - 300_000 * place) if fits else 0,
                    tightest_ancestor_id="r" if known else "",
                    marginal_peak_mw=peak_mw,
                    marginal_mean_mw=peak_mw,
                    reasons=reason,
                    explanation="" if fits else "rack r is full" if known else "not there",
                    headroom_after_mw=left_mw,
                )
            )
        found.sort(key=lambda candidate: not candidate.feasible)
        return pb.RankCandidatesResponse(
            candidates=found[: request.limit or None],
            provenance=PROVENANCE,
            placement_id="p-1",
            snapshot_id="s-1",
        )

    def Reserve(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        self.met(request, context)
        body = pb.ReserveRequest.FromString(request.SerializeToString())
        body.idempotency_key = ""
        with self._lock:
            first = self._bodies.get(request.idempotency_key)
            if first is not None and first != body.SerializeToString():
                context.abort(grpc.StatusCode.ALREADY_EXISTS, "node_id: another body")
            if first is None:
                peak_mw = self._peak_mw(request.demand, context)
                if request.node_id not in self.hosts:
                    context.abort(grpc.StatusCode.NOT_FOUND, "node_id: no such power node")
                if peak_mw > self.room_mw():
                    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "node_id: 'r' lacks power")
                self._bodies[request.idempotency_key] = body.SerializeToString()
                self.book[request.idempotency_key] = pb.Reservation(
                    reservation_id=f"id-{request.idempotency_key}",
                    idempotency_key=request.idempotency_key,
                    node_id=request.node_id,
                    demand=request.demand,
                    state=pb.RESERVATION_STATE_HELD,
                    created_unix_ns=self.now_unix_ns(),
                    expires_unix_ns=self.now_unix_ns() + request.ttl_s * 10**9,
                    grants=[
                        pb.Grant(node_id=request.node_id, granted_mw=peak_mw),
                        pb.Grant(node_id="r", granted_mw=peak_mw),
                    ],
                )
            made = self.book[request.idempotency_key]
            if made.expires_unix_ns <= self.now_unix_ns():
                made.state = pb.RESERVATION_STATE_EXPIRED
        return pb.ReserveResponse(reservation=made, provenance=PROVENANCE)

    def Release(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        self.met(request, context)
        found = self._by_id(request.reservation_id, context)
        found.state = pb.RESERVATION_STATE_RELEASED
        return pb.ReleaseResponse(reservation=found)

    def Commit(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        self.met(request, context)
        found = self._by_id(request.reservation_id, context)
        found.state, found.workload_id = pb.RESERVATION_STATE_COMMITTED, request.workload_id
        return pb.CommitResponse(reservation=found)

    def ListReservations(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        self.met(request, context)
        return pb.ListReservationsResponse(
            reservations=[r for r in self.book.values() if request.node_id in ("", r.node_id)]
        )

    def GetTopology(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        self.met(request, context)
        rack = pb.PowerNode(id="r", kind=pb.NODE_KIND_RACK, budget_mw=self.budget_mw)
        parents = [pb.Parent(id="r", share_ppm=1_000_000)]
        hosts = [pb.PowerNode(id=n, kind=pb.NODE_KIND_HOST, parents=parents) for n in self.hosts]
        return pb.GetTopologyResponse(nodes=[rack, *hosts], provenance=PROVENANCE, version=3)

    def GetHeadroom(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        self.met(request, context)
        used = self.budget_mw - self.room_mw()
        made = [
            pb.Headroom(
                node_id=name,
                now_mw=used,
                mean_mw=used,
                peak_1s_mw=used,
                predicted_peak_mw=used,
                budget_mw=self.budget_mw if name == "r" else 0,
                headroom_mw=self.room_mw(),
                binding_node_id="r",
                provenance=PROVENANCE,
                reserved_mw=used,
                predicted=[
                    pb.PredictedPeak(horizon_s=h, quantile_ppm=q, peak_mw=used)
                    for h in request.horizon_s or [600]
                    for q in request.quantile_ppm or [990_000]
                ],
            )
            for name in ("r", *self.hosts)
        ]
        wanted = set(request.node_ids)
        for each in made:
            if each.node_id in self.few:
                each.provenance.quality.append(pb.QUALITY_BY_THE_MINUTE)
        return pb.GetHeadroomResponse(
            headrooms=[h for h in made if not wanted or h.node_id in wanted]
        )

    def WhatIf(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        self.met(request, context)
        added = sum(self._peak_mw(c.place.demand, context) for c in request.changes
                    if c.HasField("place"))  # fmt: skip
        left = self.room_mw() - added
        effect = pb.NodeEffect(
            node_id="r", peak_before_mw=0, peak_after_mw=added, headroom_before_mw=self.room_mw(),
            headroom_after_mw=left, exceed_after_ppm=1_000_000 if left < 0 else 0,
        )  # fmt: skip
        return pb.WhatIfResponse(
            effects=[effect], first_violated_id="r" if left < 0 else "", snapshot_id="s-1",
            provenance=PROVENANCE,
            unpowered_ids=self.hosts if any(c.HasField("feed_loss") for c in request.changes)
            else (),
        )  # fmt: skip

    def WatchPowerEvents(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        self.met(request, context)
        yield from self.behaviour.events
        while self.behaviour.stay_open and context.is_active() and not self._closed.wait(0.05):
            pass

    def met(self, request: Any, context: Any) -> None:
        with self._lock:
            self.requests.append(request)
            self.wire.append(request.SerializeToString())
        self._closed.wait(self.behaviour.wait_s)
        if self.behaviour.abort is not None:
            context.abort(*self.behaviour.abort)

    def _peak_mw(self, demand: pb.Demand, context: Any) -> int:
        if demand.HasField("inline"):
            return int(demand.inline.peak_mw * (demand.replicas or 1))
        if demand.class_id != KNOWN_CLASS:
            context.abort(grpc.StatusCode.NOT_FOUND, "demand.class_id: no profile of it yet")
        return int(CLASS_PEAK_MW * (demand.replicas or 1))

    def _by_id(self, wanted: str, context: Any) -> pb.Reservation:
        for found in self.book.values():
            if found.reservation_id == wanted:
                return found
        context.abort(grpc.StatusCode.NOT_FOUND, "reservation_id: no such reservation")
        raise AssertionError

    def close(self) -> None:
        self._closed.set()


@contextmanager
def placement_server(server: PlacementServer) -> Iterator[PlacementServer]:
    """Serve on a free port of loopback for the length of the block."""
    # A port of its own, or a client of an earlier test could still be heard.
    grpc_server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    add_PlacementServiceServicer_to_server(server, grpc_server)
    server.address = f"127.0.0.1:{grpc_server.add_insecure_port('127.0.0.1:0')}"
    grpc_server.start()
    try:
        yield server
    finally:
        server.close()
        grpc_server.stop(None).wait()
