"""Everything behind ``chipwatt.v1.PlacementService`` as one object for the composition root."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path

import grpc.aio

from chipwatt.collector.latest import Latest
from chipwatt.collector.placement.event_answers import EventAnswers
from chipwatt.collector.placement.outlooks import Outlooks
from chipwatt.collector.placement.power_answers import PowerAnswers
from chipwatt.collector.placement.rank_answers import RankAnswers
from chipwatt.collector.placement.reservation_answers import ReservationAnswers
from chipwatt.collector.placement.reservation_book import ReservationBook
from chipwatt.collector.placement.servicer import PlacementServicer
from chipwatt.collector.placement.topology_reload import TopologyFile
from chipwatt.collector.store.faults import told
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
            self._reservations = ReservationAnswers(self._book, self.outlooks, self._ranks.profiles)
            self._events = EventAnswers(self.outlooks, self._book)
            self._power = PowerAnswers(self.outlooks, latest, self._ranks.profiles, unix_ns)
            self._stack = stack.pop_all()

    def serve(self, server: grpc.aio.Server, executor: Executor) -> None:
        """Put the service on a server; it computes in ``executor``."""
        servicer = PlacementServicer(
            self._power, self._ranks, self._reservations, self._events, executor
        )
        placement_pb2_grpc.add_PlacementServiceServicer_to_server(servicer, server)

    def begin(self) -> None:
        """Take up the forecast where the last process left it, once ``latest`` is filled."""
        with self._ticking:
            if not self._is_closed:
                self.outlooks.begin()

    def tick(self) -> None:
        """Do what is due once a second. Raises StoreError."""
        with self._ticking:
            if self._is_closed:
                return
            outlook = self.outlooks.tick()
            try:
                self._reservations.tick(outlook)
            finally:  # a full disk stops no warning
                self._events.tick(outlook)
                self._ranks.tick(outlook)

    def reload(self) -> None:
        """Read the topology file again at the next tick."""
        self.outlooks.reload()

    def end_streams(self) -> None:
        """Let every watcher go, so that the server can stop."""
        self._events.close()

    def close(self) -> None:
        """Write down what was learned and close every file."""
        with self._ticking:
            self._is_closed = True
            self._stack.close()
