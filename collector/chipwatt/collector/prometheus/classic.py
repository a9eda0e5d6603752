"""Histograms with bounds that never change, as a text format can carry them."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate

from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
)

SCALE = 1
"""Of the bounds: two a doubling, so that a quantile is right within 41 %."""
BOUNDS = tuple(2.0 ** (step / 2) for step in range(25))
"""1 to 4096 (W), each the upper bound of a bucket; above is ``+Inf``."""


@dataclass(frozen=True, slots=True)
class Classic:
    """A cumulative histogram."""

    bounds: tuple[float, ...]
    below: tuple[int, ...]
    """How many are at or below each bound."""
    count: int
    total: float
    """Sum of all values."""

    @property
    def size(self) -> int:
        """Series that it makes: buckets, ``+Inf``, count and sum."""
        return len(self.bounds) + 3


def exponential(point: ExponentialHistogramDataPoint) -> Classic:
    """Return an exponential histogram in ``BOUNDS``; exact for scales of at least ``SCALE``.

    A bucket of a coarser scale counts where it ends.
    """
    counts = [0] * (len(BOUNDS) + 1)
    counts[0] = point.zero_count
    for index, count in enumerate(point.positive.bucket_counts, point.positive.offset + 1):
        if count:
            # Ends at 2^(index / 2^scale); the first bound that is not below takes it.
            counts[bisect_left(_STEPS, index * 2.0 ** (SCALE - point.scale))] += count
    return Classic(BOUNDS, tuple(accumulate(counts[:-1])), point.count, point.sum)


def explicit(point: HistogramDataPoint) -> Classic:
    """Return a histogram that has its own bounds."""
    below = tuple(accumulate(point.bucket_counts))[: len(point.explicit_bounds)]
    return Classic(tuple(point.explicit_bounds), below, point.count, point.sum)


_STEPS = tuple(float(step) for step in range(len(BOUNDS)))
