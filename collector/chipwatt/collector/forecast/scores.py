"""Rings of conformity scores, and the order statistics that margins are made of.

A score says by how much a window's peak exceeded its base, as a share of the
node's scale. With n exchangeable scores the next one stays at or below the
``ceil((n + 1) q)``-th smallest with probability q at least: that is all the
guarantee there is, and it needs no shape of a distribution. Windows that overlap are
no strangers to each other: where w of them share their seconds, the unseen one counts
for w, ``ceil((n + w) q)``, which is what n / w strangers would give.
"""

from __future__ import annotations

import numpy as np

from chipwatt.collector.forecast.carry import State
from chipwatt.core.tables import Array

RING = 5_000
MIN_SCORES = 50
"""Before so many a ring says nothing."""
_RESORT = 50
"""A full ring is sorted again after a fiftieth of it has changed."""


class Scores:
    """The rings, each with a sorted copy that is renewed when it is read."""

    def __init__(self, rings: int, overlap: int = 1) -> None:
        self._overlap = overlap
        self._values = np.zeros((rings, RING), dtype=np.float32)
        self._sorted = np.zeros((rings, RING), dtype=np.float32)
        self._held = np.zeros(rings, dtype=np.int64)
        """Scores behind the sorted copy."""
        self._pushed = np.zeros(rings, dtype=np.int64)
        self._fresh = np.zeros(rings, dtype=np.int64)
        """Pushed since the last sort."""

    @property
    def counts(self) -> Array:
        """Scores a ring, those not yet in its sorted copy included."""
        counts: Array = np.minimum(self._pushed, RING)
        return counts

    def push(self, ring: int, scores: Array) -> None:
        """Add scores, oldest first; the oldest of a full ring go."""
        scores = scores[-RING:]
        places = (self._pushed[ring] + np.arange(len(scores))) % RING
        self._values[ring, places] = scores
        self._pushed[ring] += len(scores)
        self._fresh[ring] += len(scores)

    def settle(self, rings: Array) -> None:
        """Sort again what has changed enough to matter."""
        limit = np.minimum(self._pushed[rings], RING) // _RESORT
        for ring in rings[self._fresh[rings] > np.where(limit < 20, 0, limit)].tolist():
            self._sort(ring)

    def settle_all(self) -> None:
        """Sort everything that has changed at all."""
        for ring in np.flatnonzero(self._fresh).tolist():
            self._sort(ring)

    def _sort(self, ring: int) -> None:
        held = min(int(self._pushed[ring]), RING)
        self._sorted[ring, :held] = np.sort(self._values[ring, :held])
        self._held[ring] = held
        self._fresh[ring] = 0

    def held(self, rings: Array) -> Array:
        """Return how many scores stand behind each ring's order statistics."""
        held: Array = self._held[rings]
        return held

    def margins(self, rings: Array, alpha: Array | float) -> tuple[Array, Array]:
        """Return per element its ring's conformal margin, and whether it is finite.

        Where the rank is beyond the scores no finite margin holds the promise;
        the highest score is given then. An empty ring gives 0.
        """
        held = self._held[rings]
        # The allowance keeps (n + w) q from being rounded up past a whole number.
        rank = np.ceil((held + self._overlap) * (1.0 - alpha) - 1e-9).astype(np.int64)
        place = np.clip(rank, 1, np.maximum(held, 1)) - 1
        return self._sorted[rings, place], rank <= held

    def above(self, rings: Array, scores: Array) -> Array:
        """Return per element the share of its ring, the unseen included, above a score."""
        share = np.ones(len(rings))
        for ring in np.unique(rings).tolist():
            held = int(self._held[ring])
            mine = rings == ring
            below = np.searchsorted(self._sorted[ring, :held], scores[mine], side="right")
            share[mine] = 1.0 - below / (held + self._overlap)
        return share

    def frozen(self, rings: Array) -> tuple[Scores, Array]:
        """Return the order statistics of these rings as they are now, and each one's number there.

        To be read, not to be learned with.
        """
        used, mine = np.unique(rings, return_inverse=True)
        other = Scores(len(used), self._overlap)
        other._sorted, other._held = self._sorted[used], self._held[used]
        return other, mine

    def state(self) -> State:
        """Return the scores, oldest first, one ring after the other."""
        self.settle_all()
        parts = []
        for ring, pushed in enumerate(self._pushed.tolist()):
            held = min(pushed, RING)
            order = (pushed - held + np.arange(held)) % RING
            parts.append(self._values[ring, order])
        return {"counts": self.counts, "values": np.concatenate(parts)}

    def restore(self, state: State, source: Array) -> None:
        """Take rings over; ``source`` gives each ring's place in the state, or -1."""
        ends = np.cumsum(state["counts"])
        for ring, place in enumerate(source.tolist()):
            if place >= 0:
                start = int(ends[place] - state["counts"][place])
                self.push(ring, state["values"][start : int(ends[place])])
        self.settle_all()
