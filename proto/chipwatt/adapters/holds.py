"""Power reserved for pods, one reservation a pod, under the pod's uid."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from chipwatt.client import (
    AlreadyTaken,
    Demand,
    PlacementClient,
    RequestRefused,
    Reservation,
)
from chipwatt.core.errors import ChipwattError, CollectorUnreachable

MOST_KEPT = 20_000
_MOST_KEYS = 16


class Deadline:
    """How long the collector may take for all questions of one call of the scheduler."""

    def __init__(self, seconds: float, mono_s: Callable[[], float] = time.monotonic) -> None:
        self._mono_s = mono_s
        self._end_s = mono_s() + seconds

    def left_s(self) -> float:
        """Return what is left. Raises CollectorUnreachable once nothing is."""
        left_s = self._end_s - self._mono_s()
        if left_s <= 0:
            raise CollectorUnreachable("the collector did not answer in time")
        return left_s


@dataclass(frozen=True, slots=True)
class _Hold:
    reservation: Reservation
    key_number: int
    """Which of the pod's keys it was made with."""
    fresh_until_s: float
    """On this process's monotonic clock: half of the time to live is left until then."""


class Holds:
    """Reservations of pods; safe between threads.

    The uid alone is the idempotency key, so that several adapters, or one that was
    restarted, reserve once for a pod. Where that key stands for another node, an
    earlier try of the scheduler, or for a reservation that has ended, the next key
    is the uid with a number.
    """

    def __init__(
        self,
        client: PlacementClient,
        ttl_s: int,
        horizon_s: int = 0,
        quantile_ppm: int = 0,
        mono_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._ttl_s, self._horizon_s, self._quantile_ppm = ttl_s, horizon_s, quantile_ppm
        self._mono_s = mono_s
        self._lock = threading.Lock()
        self._held: OrderedDict[str, _Hold] = OrderedDict()

    def node_of(self, uid: str) -> str:
        """Return where this process holds power for the pod, for long enough; else ""."""
        hold = self._hold(uid)
        return hold.reservation.node_id if hold and self._is_fresh(hold) else ""

    def take(self, uid: str, node: str, demand: Demand, deadline: Deadline) -> Reservation:
        """Hold power for the pod at ``node``, and nowhere else.

        Raises NoRoom where a budget would be exceeded, another RequestRefused, or
        CollectorUnreachable.
        """
        hold = self._hold(uid)
        if hold is not None:
            held = hold.reservation
            if not self._is_fresh(hold) or (held.node_id, held.demand) != (node, demand):
                self.give_back(uid, deadline)
        for number in range(hold.key_number if hold else 0, _MOST_KEYS):
            try:
                reservation = self._client.reserve(
                    f"{uid}#{number}" if number else uid,
                    node,
                    demand,
                    ttl_s=self._ttl_s,
                    horizon_s=self._horizon_s,
                    quantile_ppm=self._quantile_ppm,
                    timeout_s=deadline.left_s(),
                )
            except AlreadyTaken:
                continue
            if reservation.is_live:
                self._keep(uid, reservation, number)
                return reservation
        raise RequestRefused("power was reserved for the pod too many times")

    def give_back(self, uid: str, deadline: Deadline) -> None:
        """Release what is held for the pod; what cannot be released now expires by itself."""
        hold = self._hold(uid)
        if hold is None or not hold.reservation.is_live:
            return
        try:
            ended = self._client.release(
                hold.reservation.reservation_id, timeout_s=deadline.left_s()
            )
        except ChipwattError:
            return
        self._keep(uid, ended, hold.key_number)

    def _is_fresh(self, hold: _Hold) -> bool:
        return hold.reservation.is_live and self._mono_s() < hold.fresh_until_s

    def _hold(self, uid: str) -> _Hold | None:
        with self._lock:
            return self._held.get(uid)

    def _keep(self, uid: str, reservation: Reservation, number: int) -> None:
        with self._lock:
            before = self._held.get(uid)
            fresh_until_s = self._mono_s() + self._ttl_s / 2
            same = reservation.reservation_id
            if before is not None and before.reservation.reservation_id == same:
                # The same again lasts no longer.
                fresh_until_s = before.fresh_until_s
            self._held[uid] = _Hold(reservation, number, fresh_until_s)
            self._held.move_to_end(uid)
            if len(self._held) > MOST_KEPT:
                self._held.popitem(last=False)
