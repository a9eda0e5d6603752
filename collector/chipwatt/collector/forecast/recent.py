"""Mean, deviation and highest peak of the last ten minutes, kept by the minute."""

from __future__ import annotations

import numpy as np

from chipwatt.collector.forecast.carry import State, carry
from chipwatt.core.tables import Array

_BLOCK_S = 60
_BLOCKS = 11
"""Ten whole minutes and the one that is running."""
SIGMAS = 5.0


class Recent:
    """One column a node."""

    def __init__(self, nodes: int) -> None:
        self._count = np.zeros((_BLOCKS, nodes), dtype=np.uint8)
        self._sum = np.zeros((_BLOCKS, nodes))
        self._squares = np.zeros((_BLOCKS, nodes))
        self._highest = np.zeros((_BLOCKS, nodes), dtype=np.float32)
        self._minute = -1

    def observe(self, second: int, mean_mw: Array, peak_mw: Array, seen: Array) -> None:
        """Take one bin, later than all before it."""
        minute = second // _BLOCK_S
        for stale in range(max(self._minute + 1, minute - _BLOCKS + 1), minute + 1):
            row = stale % _BLOCKS
            for blocks in (self._count, self._sum, self._squares, self._highest):
                blocks[row] = 0
        self._minute = minute
        row = minute % _BLOCKS
        taken = np.where(seen, mean_mw, 0.0)
        self._count[row] += seen
        self._sum[row] += taken
        self._squares[row] += taken * taken
        np.maximum(self._highest[row], np.where(seen, peak_mw, 0), out=self._highest[row])

    def n_sigma_mw(self, which: Array | slice = slice(None)) -> Array:
        """Return mean plus five standard deviations; 0 where nothing was seen."""
        count = np.maximum(self._count[:, which].sum(axis=0, dtype=np.int64), 1)
        mean = self._sum[:, which].sum(axis=0) / count
        variance = self._squares[:, which].sum(axis=0) / count - mean * mean
        peak: Array = mean + SIGMAS * np.sqrt(np.maximum(variance, 0.0))
        return peak

    def minutes_mw(self, before_s: int, minutes: int) -> Array:
        """Return the means of the last whole minutes that end by ``before_s``, a row a minute.

        Newest last; NaN where nothing was seen of one, or it is kept no longer.
        """
        end = before_s // _BLOCK_S
        wanted = np.arange(end - minutes, end)
        rows = wanted % _BLOCKS
        count = self._count[rows].astype(np.float64)
        count[(wanted <= self._minute - _BLOCKS) | (wanted > self._minute)] = 0.0
        means: Array = np.divide(
            self._sum[rows], count, out=np.full(count.shape, np.nan), where=count > 0
        )
        return means

    def highest_mw(self, which: Array | slice = slice(None)) -> Array:
        """Return the highest in-bin peak."""
        highest: Array = self._highest[:, which].max(axis=0)
        return highest

    def state(self) -> State:
        return {
            "count": self._count,
            "sum": self._sum,
            "squares": self._squares,
            "highest": self._highest,
            "minute": np.array(self._minute),
        }

    def restore(self, state: State, source: Array) -> None:
        carry(state["count"], self._count, source)
        carry(state["sum"], self._sum, source)
        carry(state["squares"], self._squares, source)
        carry(state["highest"], self._highest, source)
        self._minute = int(state["minute"])
