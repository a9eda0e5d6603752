"""How many batches a host may send: two a second in the long run, a day's backlog at once.

What a host may send accrues while it is away, so that one that comes back drains
what it kept as fast as it is read: at one batch a second, the finest cadence, a day
of it. Only somebody who sends more than any agent makes is ever slowed down, and
loses nothing by it: the stream is read later.
"""

from __future__ import annotations

import time
from collections.abc import Callable

BATCHES_A_SECOND = 2.0
MOST_BATCHES = 86_400.0
_PRUNE_FROM = 50_000


class Pace:
    """A token bucket a host; used in one event loop."""

    def __init__(
        self,
        mono_s: Callable[[], float] = time.monotonic,
        *,
        rate: float = BATCHES_A_SECOND,
        most: float = MOST_BATCHES,
    ) -> None:
        self._mono_s = mono_s
        self._rate = rate
        self._most = most
        self._left: dict[bytes, tuple[float, float]] = {}  # batches left, as of when

    def take(self, host: bytes) -> float:
        """Count one batch of ``host``; returns how many seconds it has to wait, mostly 0."""
        now_s = self._mono_s()
        if host not in self._left and len(self._left) >= _PRUNE_FROM:
            self._prune(now_s)
        left = self._now(host, now_s) - 1.0
        self._left[host] = (left, now_s)
        return max(0.0, -left / self._rate)

    def _now(self, host: bytes, now_s: float) -> float:
        left, as_of_s = self._left.get(host, (self._most, now_s))
        return min(self._most, left + (now_s - as_of_s) * self._rate)

    def _prune(self, now_s: float) -> None:
        """Forget whoever has all of it again."""
        full = [host for host in self._left if self._now(host, now_s) >= self._most]
        for host in full:
            del self._left[host]
