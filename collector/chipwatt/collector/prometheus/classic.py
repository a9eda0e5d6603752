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
WATTS = range(25)
"""1 to 4096, each the upper bound of a bucket as a power of the root of 2; above is ``+Inf``."""
SECONDS = range(-20, 13)
"""1 ms to 64 s, in the same way."""


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


def exponential(point: ExponentialHistogramDataPoint, steps: range = WATTS) -> Classic:
    """Return an exponential histogram with bounds at ``steps``; exact from ``SCALE`` on.

    A bucket of a coarser scale counts where it ends.
    """
    counts = [0] * (len(steps) + 1)
    counts[0] = point.zero_count
    for index, count in enumerate(point.positive.bucket_counts, point.positive.offset + 1):
        if count:
            # Ends at 2^(index / 2^scale); the first bound that is not below takes it.
            counts[bisect_left(steps, index * 2.0 ** (SCALE - point.scale))] += count
    bounds = tuple(2.0 ** (step / 2**SCALE) for step in steps)
    return Classic(bounds, tuple(accumulate(counts[:-1])), point.count, point.sum)


def explicit(point: HistogramDataPoint) -> Classic:
    """Return a histogram that has its own bounds."""
    below = tuple(accumulate(point.bucket_counts))[: len(point.explicit_bounds)]
    return Classic(tuple(point.explicit_bounds), below, point.count, point.sum)
