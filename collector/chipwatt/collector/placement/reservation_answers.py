"""Reserve, Commit, Release, ListReservations: power set aside before telemetry shows it.

Telemetry lags placement: without reservations many clients see the same room and
fill it many times. Whether a reservation fits is decided for one caller at a time,
against everything that was reserved up to then, at the node and every ancestor on
every feed; it is on the disk before it is answered.

From Commit on the workload draws. A committed reservation is absorbed once every
host beneath its node has been heard for 200 seconds after Commit: by then the
predicted peak holds the power. Where a host stays silent, or the topology
has lost the node, it counts until it is released: power may count twice for a while,
never not at all. So Commit belongs to the moment in which a workload starts, not to
the decision to place it; until then it is held.
"""

from __future__ import annotations

import secrets
import threading
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import grpc

from chipwatt.collector.answering import Refused, invalid, not_found
from chipwatt.collector.placement.absorption import Absorption
from chipwatt.collector.placement.asking import horizon_of, position_of, quantile_of
from chipwatt.collector.placement.demand import (
    KnownProfiles,
    parse_workload_id,
    peak_of,
    shape_of,
)
from chipwatt.collector.placement.grants import shortage
from chipwatt.collector.placement.reservation import Reservation, ReservationState, grants_of
from chipwatt.collector.placement.reservation_book import ReservationBook
from chipwatt.collector.placement.topology import Topology
from chipwatt.collector.placement.trust import Trust, provenance_message
from chipwatt.core.clock import NS_PER_S
from chipwatt.v1 import placement_pb2 as pb

if TYPE_CHECKING:
    from chipwatt.collector.placement.outlook import Outlook
    from chipwatt.collector.placement.outlooks import OutlookSource

MAX_KEY = 128
MAX_TTL_S = 86_400
DEFAULT_TTL_S = 60
MAX_LIVE = 100_000
MAX_LISTED = 5_000
"""As many as surely fit into a message of 4 MiB, gRPC's own limit at a client."""


class ReservationAnswers:
    """Messages in, messages out; called from several threads. Raises Refused, StoreError."""

    def __init__(
        self,
        book: ReservationBook,
        outlooks: OutlookSource,
        profiles: KnownProfiles,
    ) -> None:
        self._book = book
        self._outlooks = outlooks
        self._profiles = profiles
        self._absorption = Absorption(book)
        self._deciding = threading.Lock()
        """Held while a reservation is made or changed. Taken before the outlooks' own lock."""

    def seen_through(self, outlooks: OutlookSource) -> ReservationAnswers:
        """Return who answers from other outlooks, one after the other with this one."""
        other = copy(self)
        other._outlooks = outlooks  # noqa: SLF001 - its own class
        return other

    def tick(self, outlook: Outlook) -> None:
        """Let telemetry absorb what it shows, and keep the book in order.

        Once a second; never from within ``Outlooks``, whose lock comes after ours.
        """
        with self._deciding:
            self._absorption.tick(outlook)
            self._book.upkeep()

    def reserve(self, request: pb.ReserveRequest) -> pb.ReserveResponse:
        """Set power aside, or say at which node how much is missing; see the service."""
        key = request.idempotency_key
        if not 1 <= len(key) <= MAX_KEY:
            raise invalid(f"idempotency_key: {len(key)} characters, not 1 to {MAX_KEY}")
        body = _body(request)
        with self._deciding:
            made = self._book.by_key(key)
            if made is not None and made.body != body:
                raise _another_body(key, made.body, request)
            outlook = self._outlooks.latest()
            if made is None:
                made = self._grant(request, body, outlook)
                self._book.keep(made)
        return pb.ReserveResponse(
            reservation=reservation_message(made, outlook.topology),
            provenance=provenance_message(_trust(made, outlook)),
        )

    def commit(self, request: pb.CommitRequest) -> pb.CommitResponse:
        """Bind a held reservation to the workload that starts now."""
        workload = parse_workload_id(request.workload_id, "workload_id")
        with self._deciding:
            found = self._find(request.reservation_id)
            if found.state is ReservationState.HELD:
                found = replace(
                    found,
                    state=ReservationState.COMMITTED,
                    workload=workload,
                    committed_unix_ns=self._book.now_unix_ns(),
                )
                self._book.keep(found)
            elif not found.workload or found.state is ReservationState.RELEASED:
                raise _precondition(
                    f"reservation_id: {found.id} is {found.state.name.lower()}; reserve again"
                )
            elif found.workload != workload:
                raise _precondition(
                    f"workload_id: {found.id} is bound to workload {found.workload.hex()} already"
                )
        outlook = self._outlooks.latest()
        return pb.CommitResponse(
            reservation=reservation_message(found, outlook.topology),
            provenance=provenance_message(_trust(found, outlook)),
        )

    def release(self, request: pb.ReleaseRequest) -> pb.ReleaseResponse:
        """Free a reservation; one that has ended already is returned as it is."""
        with self._deciding:
            found = self._find(request.reservation_id)
            if found.is_live or found.state is ReservationState.ABSORBED:
                found = replace(
                    found,
                    state=ReservationState.RELEASED,
                    ended_unix_ns=self._book.now_unix_ns(),
                )
                self._book.keep(found)
        outlook = self._outlooks.latest()
        return pb.ReleaseResponse(
            reservation=reservation_message(found, outlook.topology),
            provenance=provenance_message(_trust(found, outlook)),
        )

    def list_reservations(self, request: pb.ListReservationsRequest) -> pb.ListReservationsResponse:
        """Return the reservations of a node, or all, in a state; oldest first."""
        if request.state == pb.RESERVATION_STATE_UNSPECIFIED:
            found = [r for r in self._book.live() if request.node_id in ("", r.node_id)]
        elif int(request.state) in map(int, ReservationState):
            state = ReservationState(request.state)
            found = self._book.in_state(state, request.node_id, MAX_LISTED + 1)
        else:
            raise invalid(f"state: {request.state} is no state of a reservation")
        if len(found) > MAX_LISTED:
            raise Refused(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"node_id: more than {MAX_LISTED} reservations fit; ask node by node",
            )
        outlook = self._outlooks.latest()
        topology = outlook.topology
        if request.node_id and not found:
            position_of(topology, request.node_id)
        return pb.ListReservationsResponse(
            reservations=[reservation_message(reservation, topology) for reservation in found],
            provenance=provenance_message(outlook.trust_of_all()),
        )

    def _grant(self, request: pb.ReserveRequest, body: bytes, outlook: Outlook) -> Reservation:
        """Return a reservation that fits. Raises Refused."""
        ttl_s = request.ttl_s or DEFAULT_TTL_S
        if ttl_s > MAX_TTL_S:
            raise invalid(f"ttl_s: {ttl_s} s, at most {MAX_TTL_S}")
        peak_mw = outlook.peak_mw(
            horizon_of(request.horizon_s, outlook), quantile_of(request.quantile_ppm)
        )
        topology = outlook.topology
        position = position_of(topology, request.node_id)
        shape = shape_of(request.demand, self._profiles, topology.nodes[position].hw_class)
        power_mw = peak_of(shape)
        grants = grants_of(topology, position, power_mw)
        reserved_mw = self._book.reserved(topology)
        lack = shortage(outlook, peak_mw, reserved_mw, grants)
        if lack is not None:
            raise Refused(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"node_id: {lack.node_id!r} lacks {lack.missing_mw} mW: it allows "
                f"{lack.allowed_mw} mW, of which the predicted peak takes {lack.peak_mw} mW and "
                f"reservations {lack.reserved_mw} mW; {lack.asked_mw} mW were asked for",
            )
        if self._book.live_count >= MAX_LIVE:
            raise Refused(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"idempotency_key: {MAX_LIVE} reservations are held or committed; release some",
            )
        now_unix_ns = self._book.now_unix_ns()
        return Reservation(
            id=secrets.token_hex(16),
            key=request.idempotency_key,
            node_id=request.node_id,
            body=body,
            power_mw=power_mw,
            priority=request.demand.priority,
            state=ReservationState.HELD,
            created_unix_ns=now_unix_ns,
            expires_unix_ns=now_unix_ns + ttl_s * NS_PER_S,
            grants=tuple((topology.nodes[at].id, mw) for at, mw in grants.items()),
        )

    def _find(self, reservation_id: str) -> Reservation:
        found = self._book.by_id(reservation_id)
        if found is None:
            raise not_found(f"reservation_id: no reservation {reservation_id[:40]!r}")
        return found


def reservation_message(of: Reservation, topology: Topology) -> pb.Reservation:
    """Return a reservation as clients see it."""
    return pb.Reservation(
        reservation_id=of.id,
        idempotency_key=of.key,
        node_id=of.node_id,
        demand=pb.ReserveRequest.FromString(of.body).demand,
        state=pb.ReservationState.ValueType(of.state),
        created_unix_ns=of.created_unix_ns,
        expires_unix_ns=of.expires_unix_ns,
        grants=[pb.Grant(node_id=node_id, granted_mw=mw) for node_id, mw in of.grants],
        workload_id=of.workload.hex(),
        committed_unix_ns=of.committed_unix_ns,
        node_gone=of.node_id not in topology.index,
    )


def _trust(of: Reservation, outlook: Outlook) -> Trust:
    """Return the trust in the prediction of the reservation's node, as in Reserve."""
    position = outlook.topology.index.get(of.node_id)
    if position is None:
        return outlook.trust_of_all()
    asked = pb.ReserveRequest.FromString(of.body)
    return outlook.trust(
        position, horizon_of(asked.horizon_s, outlook), quantile_of(asked.quantile_ppm)
    )


def _body(request: pb.ReserveRequest) -> bytes:
    """Return what a replay must repeat."""
    body = pb.ReserveRequest()
    body.CopyFrom(request)
    body.ClearField("idempotency_key")
    body.DiscardUnknownFields()
    return body.SerializeToString(deterministic=True)


def _another_body(key: str, made: bytes, request: pb.ReserveRequest) -> Refused:
    first = pb.ReserveRequest.FromString(made)
    names = [field.name for field in pb.ReserveRequest.DESCRIPTOR.fields]
    names.remove("idempotency_key")
    other = [name for name in names if getattr(first, name) != getattr(request, name)]
    other = other or ["demand"]  # an empty one instead of none
    return Refused(
        grpc.StatusCode.ALREADY_EXISTS,
        f"{other[0]}: idempotency_key {key!r} stands for a reservation with another "
        f"{' and another '.join(other)}; use a new key",
    )


def _precondition(message: str) -> Refused:
    return Refused(grpc.StatusCode.FAILED_PRECONDITION, message)
