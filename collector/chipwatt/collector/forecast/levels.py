"""Level and volatility of every node: exponentially weighted, at several half-lives at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chipwatt.collector.forecast.carry import State, carry
from chipwatt.core.tables import Array

SETTLE_S = 300
"""Scores of a level that has not settled would stand in its cohort's ring for an hour."""


class Levels:
    """Rows are half-lives, columns nodes. Starts as a plain mean, so that age is no bias."""

    def __init__(self, half_lives_s: Sequence[float], nodes: int) -> None:
        half = np.array(half_lives_s, dtype=np.float64)[:, np.newaxis]
        self._gain = 1.0 - 0.5 ** (1.0 / half)
        self._spread_gain = 1.0 - 0.5 ** (0.5 / half)
        self.level_mw = np.zeros((len(half), nodes))
        self._variance = np.zeros_like(self.level_mw)
        self._since = np.zeros(nodes, dtype=np.int64)
        self.age_s = np.zeros(nodes, dtype=np.int64)
        """Bins seen of the node."""

    @property
    def settled(self) -> Array:
        """Whether a level has seen enough since it started or restarted to be scored."""
        settled: Array = self._since >= SETTLE_S
        return settled

    def volatility_mw(self, row: int) -> Array:
        """Return the deviation about the level of a row, over twice its half-life."""
        deviation: Array = np.sqrt(self._variance[row])
        return deviation

    def observe(self, mean_mw: Array, seen: Array, restart: Array) -> None:
        """Take one bin; a level restarts where what is measured has changed."""
        first = seen & (restart | (self._since == 0))
        self._since[first] = 0
        self._since += seen
        self.age_s += seen
        np.copyto(self.level_mw, mean_mw, where=first)
        off = np.where(seen, mean_mw - self.level_mw, 0.0)
        self.level_mw += np.maximum(self._gain, 1.0 / np.maximum(self._since, 1)) * off
        gain = np.maximum(self._spread_gain, 1.0 / np.maximum(self.age_s, 1)) * seen
        self._variance += gain * (off * off - self._variance)

    def state(self) -> State:
        return {
            "level_mw": self.level_mw,
            "variance": self._variance,
            "since": self._since,
            "age_s": self.age_s,
        }

    def restore(self, state: State, source: Array) -> None:
        carry(state["level_mw"], self.level_mw, source)
        carry(state["variance"], self._variance, source)
        carry(state["since"], self._since, source)
        carry(state["age_s"], self.age_s, source)
