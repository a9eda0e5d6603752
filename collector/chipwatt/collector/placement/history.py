"""Ten minutes of synchronous sums: a row a power node, a slot a second of wall time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chipwatt.collector.rings import RING_S
from chipwatt.core.tables import Array

_KEPT_S = 60
"""Answers that are so old can still be asked for what they were made of."""
_SLOTS = RING_S + 2 * _KEPT_S


class History:
    """Mean and highest in-bin peak of every second, in mW, single precision."""

    def __init__(self, nodes: int) -> None:
        self._mean = np.zeros((nodes, _SLOTS), dtype=np.float32)
        self._peak = np.zeros((nodes, _SLOTS), dtype=np.float32)

    def write(self, seconds: Array, mean_mw: Array, peak_mw: Array) -> None:
        """Put columns down, one a second."""
        self._mean[:, seconds % _SLOTS] = mean_mw
        self._peak[:, seconds % _SLOTS] = peak_mw

    def means(self, positions: Array, first_s: int, end_s: int) -> Array:
        """Return the mean of these nodes in each second from ``first_s`` up to ``end_s``."""
        rows = [self._mean[positions, span] for span in _spans(first_s, end_s)]
        return np.concatenate(rows, axis=1)

    def total_mean_mw(self, first_s: int, end_s: int) -> Array:
        """Return per node the sum of the means."""
        parts = [self._mean[:, s].sum(axis=1, dtype=np.float64) for s in _spans(first_s, end_s)]
        total: Array = np.add.reduce(parts)
        return total

    def highest_mean_mw(self, first_s: int, end_s: int) -> Array:
        """Return per node the highest mean of a second."""
        rows = [self._mean[:, span].max(axis=1, initial=0.0) for span in _spans(first_s, end_s)]
        highest: Array = np.maximum.reduce(rows)
        return highest

    def highest_peak_mw(self, positions: Array, first_s: int, end_s: int) -> Array:
        """Return the highest in-bin peak of these nodes."""
        rows = [
            self._peak[positions, span].max(axis=1, initial=0.0) for span in _spans(first_s, end_s)
        ]
        highest: Array = np.maximum.reduce(rows)
        return highest


def _spans(first_s: int, end_s: int) -> Iterator[slice]:
    """Yield the one or two stretches of slots that hold these seconds, oldest first."""
    start, length = first_s % _SLOTS, end_s - first_s
    yield slice(start, min(start + length, _SLOTS))
    if start + length > _SLOTS:
        yield slice(0, start + length - _SLOTS)
