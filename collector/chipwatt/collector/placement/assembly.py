"""Everything behind ``chipwatt.v1.PlacementService`` as one object for the composition root."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc.aio

from chipwatt.collector.access.caller import caller_of
from chipwatt.collector.egress.config import Tier
from chipwatt.collector.egress.policy import sees_seconds
from chipwatt.collector.latest import Latest
from chipwatt.collector.placement.desk import Desk
from chipwatt.collector.placement.event_answers import EventAnswers
from chipwatt.collector.placement.learning import ClassLearner
from chipwatt.collector.placement.outlooks import Outlooks
from chipwatt.collector.placement.power_answers import PowerAnswers
from chipwatt.collector.placement.rank_answers import RankAnswers
from chipwatt.collector.placement.reservation_answers import ReservationAnswers
from chipwatt.collector.placement.reservation_book import ReservationBook
from chipwatt.collector.placement.servicer import PlacementServicer
from chipwatt.collector.placement.shown_outlook import ShownOutlooks
from chipwatt.collector.placement.topology_reload import TopologyFile
from chipwatt.collector.store.faults import told
from chipwatt.collector.store.workloads import Workloads
from chipwatt.v1 import placement_pb2_grpc

TICK_S = 1.0


class Placement:
    """Opens what it needs beneath ``state_dir``. Raises ChipwattError, and leaves nothing open."""

    def __init__(
        self,
        latest: Latest,
        unix_ns: Callable[[], int],
        state_dir: Path,
        topology_file: TopologyFile | None = None,
    ) -> None:
        self._ticking = threading.Lock()
        self._is_closed = False
        self._latest = latest
        with ExitStack() as stack:
            with told(state_dir, "make the state directory"):
                state_dir.mkdir(parents=True, exist_ok=True)
            database = state_dir / "placement.sqlite"
            self._book = ReservationBook(database, unix_ns)
            stack.callback(self._book.close)
            self.outlooks = Outlooks(
                latest,
                unix_ns,
                file=topology_file,
                state_path=state_dir / "forecast.npz",
                reserved_mw=self._book.reserved_mw,
            )
            stack.callback(self.outlooks.close)
            self._ranks = RankAnswers(self.outlooks, database, unix_ns)
            stack.callback(self._ranks.close)
            profiles = self._ranks.profiles
            self._reservations = ReservationAnswers(self._book, self.outlooks, profiles)
            self._exact = Desk(
                PowerAnswers(self.outlooks, latest, profiles, unix_ns),
                self._ranks,
                self._reservations,
                EventAnswers(self.outlooks, self._book),
            )
            self._shown_outlooks = shown = ShownOutlooks(self.outlooks)
            self._shown = Desk(
                PowerAnswers(shown, latest, profiles, unix_ns),
                self._ranks.seen_through(shown),
                self._reservations.seen_through(shown),
                EventAnswers(shown, self._book),
            )
            self._stack = stack.pop_all()

    def serve(
        self, server: grpc.aio.Server, executor: Executor, tier: Tier = Tier.CONFIDENTIAL
    ) -> None:
        """Put the service on a server; it computes in ``executor``."""

        def desk_of(context: grpc.aio.ServicerContext[Any, Any]) -> Desk:
            return self._exact if sees_seconds(caller_of(context).role, tier) else self._shown

        servicer = PlacementServicer(desk_of, executor)
        placement_pb2_grpc.add_PlacementServiceServicer_to_server(servicer, server)

    def begin(self) -> None:
        """Take up the forecast where the last process left it, once ``latest`` is filled."""
        with self._ticking:
            if not self._is_closed:
                self.outlooks.begin()
                self._shown_outlooks.forget()

    def learner(self, workloads: Workloads) -> ClassLearner:
        """Return what turns stored minutes of workloads into profiles of their classes."""
        return ClassLearner(
            workloads,
            self._ranks.profiles,
            lambda: self.outlooks.latest().topology,
            self._latest.resolve,
        )

    def tick(self) -> None:
        """Do what is due once a second. Raises StoreError."""
        with self._ticking:
            if self._is_closed:
                return
            outlook = self.outlooks.tick()
            try:
                self._reservations.tick(outlook)
            finally:  # a full disk stops no warning
                self._exact.tick(outlook)
                self._shown.tick(self._shown_outlooks.latest())

    def reload(self) -> None:
        """Read the topology file again at the next tick."""
        self.outlooks.reload()

    def end_streams(self) -> None:
        """Let every watcher go, so that the server can stop."""
        for desk in (self._exact, self._shown):
            desk.events.close()

    def close(self) -> None:
        """Write down what was learned and close every file."""
        with self._ticking:
            self._is_closed = True
            self._stack.close()
