"""Every reservation that counts, in memory, and beneath it a file that survives a power cut.

The file is written first: what memory counts is on the disk. Time here never runs
backwards within a run, so that what has expired once stays so where a wall clock is
set back; it goes on at its own pace until the wall clock has caught up. Nothing is held
for longer than it was asked for, whatever a clock once said.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from chipwatt.collector.placement.reservation import (
    LIVE,
    Reservation,
    ReservationState,
    counted_grants,
)
from chipwatt.collector.placement.reservation_file import ReservationFile
from chipwatt.collector.placement.topology import Topology
from chipwatt.core import log
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.errors import StoreError
from chipwatt.core.tables import Array

_FORGET_EVERY_NS = 60 * NS_PER_S
_log = log.get(__name__)


class ReservationBook:
    """Reservations in the file at ``path``; safe between threads. Raises StoreError."""

    def __init__(
        self,
        path: Path,
        unix_ns: Callable[[], int],
        mono_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._unix_ns, self._mono_ns = unix_ns, mono_ns
        self._lock = threading.RLock()
        self._file = ReservationFile(path)
        self._now_unix_ns, self._now_mono_ns = 0, 0
        self._forget_unix_ns = 0
        self._live: dict[str, Reservation] = {}
        self._expiries: list[tuple[int, str]] = []
        self._unsaved: dict[str, Reservation] = {}
        """Expired, and not yet written as such."""
        self._topology: Topology | None = None
        self._counted: dict[str, Mapping[str, int]] = {}
        self._reserved: Counter[str] = Counter()
        now = self.now_unix_ns()
        for reservation in self._file.live():
            lease_ns = reservation.expires_unix_ns - reservation.created_unix_ns
            expires_unix_ns = min(reservation.expires_unix_ns, now + lease_ns)
            self._take(replace(reservation, expires_unix_ns=expires_unix_ns))

    def now_unix_ns(self) -> int:
        """Return the wall clock, or where that was set back, what it would show otherwise."""
        with self._lock:
            wall, mono = self._unix_ns(), self._mono_ns()
            if wall < self._now_unix_ns:
                wall = self._now_unix_ns + mono - self._now_mono_ns
            self._now_unix_ns, self._now_mono_ns = wall, mono
            return wall

    def by_id(self, reservation_id: str) -> Reservation | None:
        """Return a reservation as it stands now; None where there is none, or no longer."""
        return self._current(self._file.by_id(reservation_id))

    def by_key(self, key: str) -> Reservation | None:
        """Return the reservation that was made with ``key``, as it stands now."""
        return self._current(self._file.by_key(key))

    def live(self) -> list[Reservation]:
        """Return what counts now, oldest first."""
        with self._lock:
            self._expire(self.now_unix_ns())
            return sorted(self._live.values(), key=lambda r: (r.created_unix_ns, r.id))

    @property
    def live_count(self) -> int:
        """How many count, those included that have expired since it was last looked."""
        return len(self._live)

    def in_state(self, state: ReservationState, node_id: str, limit: int) -> list[Reservation]:
        """Return at most ``limit`` in a state, oldest first; ``node_id`` "": of every node."""
        with self._lock:
            self._expire(self.now_unix_ns())
            if state in LIVE:
                found = [r for r in self.live() if r.state is state and node_id in ("", r.node_id)]
                return found[:limit]
            self._save()
            return self._file.in_state(state, node_id, limit)

    def priorities(self) -> dict[str, int]:
        """Return by node id the highest priority of the workloads that were committed there."""
        return self._file.priorities()

    def keep(self, *reservations: Reservation) -> None:
        """Write new or changed reservations, all or none, and count them."""
        with self._lock:
            self._save(*reservations)
            for reservation in reservations:
                self._drop(reservation.id)
                if reservation.is_live:
                    self._take(reservation)

    def reserved_mw(self, topology: Topology) -> Array:
        """Return what is held or committed and not yet absorbed, per node; carried up by share."""
        with self._lock:
            reserved = self.reserved(topology)
            array = np.zeros(len(topology.nodes))
            if reserved:
                at = [topology.index[node_id] for node_id in reserved]
                array[at] = list(reserved.values())
            return array

    def reserved(self, topology: Topology) -> Mapping[str, int]:
        """Return reserved mW by node id, where there is any. Not to be kept, nor changed."""
        with self._lock:
            self._expire(self.now_unix_ns())
            if topology is not self._topology:
                self._count_anew(topology)
            return self._reserved

    def upkeep(self) -> None:
        """Write what has expired, and once a minute drop what ended long ago."""
        with self._lock:
            now = self.now_unix_ns()
            self._expire(now)
            self._save()
            if now >= self._forget_unix_ns:
                self._file.forget(now)
                self._forget_unix_ns = now + _FORGET_EVERY_NS

    def close(self) -> None:
        """Write what has expired and close the file."""
        try:
            self.upkeep()
        except StoreError as error:
            # Nothing is lost: what is written as held has its time of expiry beside it.
            _log.warning("expired reservations stay written as held", reason=str(error))
        finally:
            self._file.close()

    def _current(self, written: Reservation | None) -> Reservation | None:
        if written is None:
            return None
        with self._lock:
            self._expire(self.now_unix_ns())
            return self._live.get(written.id) or self._unsaved.get(written.id) or written

    def _save(self, *reservations: Reservation) -> None:
        self._file.put([*self._unsaved.values(), *reservations])
        self._unsaved.clear()

    def _take(self, reservation: Reservation) -> None:
        self._live[reservation.id] = reservation
        if reservation.state is ReservationState.HELD:
            heapq.heappush(self._expiries, (reservation.expires_unix_ns, reservation.id))
        if self._topology is not None:
            counted = counted_grants(self._topology, reservation)
            self._counted[reservation.id] = counted
            self._reserved.update(counted)

    def _drop(self, reservation_id: str) -> None:
        self._live.pop(reservation_id, None)
        for node_id, mw in self._counted.pop(reservation_id, {}).items():
            self._reserved[node_id] -= mw
            if not self._reserved[node_id]:
                del self._reserved[node_id]

    def _expire(self, now_unix_ns: int) -> None:
        while self._expiries and self._expiries[0][0] <= now_unix_ns:
            expired_unix_ns, reservation_id = heapq.heappop(self._expiries)
            held = self._live.get(reservation_id)
            if held is not None and held.state is ReservationState.HELD:
                self._drop(reservation_id)
                self._unsaved[reservation_id] = replace(
                    held, state=ReservationState.EXPIRED, ended_unix_ns=expired_unix_ns
                )

    def _count_anew(self, topology: Topology) -> None:
        self._topology = topology
        self._counted.clear()
        self._reserved.clear()
        gone = 0
        for reservation in self._live.values():
            counted = counted_grants(topology, reservation)
            self._counted[reservation.id] = counted
            self._reserved.update(counted)
            gone += reservation.node_id not in topology.index
        if gone:
            _log.warning("reservations stand at nodes that the topology lacks", reservations=gone)
