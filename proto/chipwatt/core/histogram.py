"""Base-2 exponential histograms of power over time, as OTLP defines the buckets.

OTLP data model, "ExponentialHistogram": base = 2^(2^-scale); bucket i holds
(base^i, base^(i+1)]. Lowering the scale by one joins buckets 2i and 2i+1, so
any two histograms merge without error beyond the coarser scale.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chipwatt.core.columns import MAX_BUCKETS
from chipwatt.core.records import PowerHistogram

MAX_SCALE = 6
"""Finest resolution used: bucket bounds 1.1 % apart."""


def bucket_index(power_mw: NDArray[np.int64], scale: int) -> NDArray[np.int64]:
    """Return the bucket of each power (mW, > 0) at ``scale``."""
    watts = power_mw / 1000.0
    index = np.ceil(np.log2(watts) * 2.0**scale).astype(np.int64) - 1
    # log2 may be off by one ulp at a bucket's edge; the edges themselves decide.
    index -= watts <= np.exp2(index / 2.0**scale)
    index += watts > np.exp2((index + 1) / 2.0**scale)
    return index


def build(power_mw: NDArray[np.int64], time_ms: NDArray[np.int64]) -> PowerHistogram:
    """Build a histogram of ``time_ms`` spent at each ``power_mw``.

    The finest scale whose buckets fit into the limit is taken.
    """
    positive = power_mw > 0
    zero_ms = int(time_ms[~positive].sum())
    power_mw, time_ms = power_mw[positive], time_ms[positive]
    if not len(power_mw):
        return PowerHistogram(zero_ms=zero_ms)
    scale = MAX_SCALE
    low, high = (int(i) for i in bucket_index(np.array([power_mw.min(), power_mw.max()]), scale))
    shift = _shift_to_fit(low, high)
    index = bucket_index(power_mw, scale) >> shift
    low >>= shift
    counts = np.zeros((high >> shift) - low + 1, dtype=np.int64)
    np.add.at(counts, index - low, time_ms)
    return PowerHistogram(scale - shift, low, zero_ms, tuple(counts.tolist()))


def merge(first: PowerHistogram, second: PowerHistogram) -> PowerHistogram:
    """Return the histogram of both times together; total time is kept exactly."""
    zero_ms = first.zero_ms + second.zero_ms
    if not first.counts_ms or not second.counts_ms:
        full = first if first.counts_ms else second
        return PowerHistogram(full.scale, full.offset, zero_ms, full.counts_ms)
    scale = min(first.scale, second.scale)
    parts = [_rescale(part, scale) for part in (first, second)]
    low = min(part.offset for part in parts)
    high = max(part.offset + len(part.counts_ms) - 1 for part in parts)
    shift = _shift_to_fit(low, high)
    if shift:
        parts = [_rescale(part, scale - shift) for part in parts]
        low, high = low >> shift, high >> shift
    counts = [0] * (high - low + 1)
    for part in parts:
        for position, count in enumerate(part.counts_ms, part.offset - low):
            counts[position] += count
    return PowerHistogram(scale - shift, low, zero_ms, tuple(counts))


def quantile_mw(histogram: PowerHistogram, quantile: float) -> int | None:
    """Return the upper edge in mW of the bucket that holds ``quantile`` of the time.

    None where the histogram is empty.
    """
    total_ms = histogram.zero_ms + sum(histogram.counts_ms)
    if not total_ms:
        return None
    seen_ms, wanted_ms = histogram.zero_ms, quantile * total_ms
    if seen_ms >= wanted_ms:
        return 0
    for position, count in enumerate(histogram.counts_ms, histogram.offset + 1):
        seen_ms += count
        if seen_ms >= wanted_ms:
            return round(1000 * float(np.exp2(position / 2.0**histogram.scale)))
    raise AssertionError("unreachable: the counts sum to the total")


def _rescale(histogram: PowerHistogram, scale: int) -> PowerHistogram:
    shift = histogram.scale - scale
    if not shift:
        return histogram
    low = histogram.offset >> shift
    high = (histogram.offset + len(histogram.counts_ms) - 1) >> shift
    counts = [0] * (high - low + 1)
    for index, count in enumerate(histogram.counts_ms, histogram.offset):
        counts[(index >> shift) - low] += count
    return PowerHistogram(scale, low, histogram.zero_ms, tuple(counts))


def _shift_to_fit(low: int, high: int) -> int:
    shift = 0
    while (high >> shift) - (low >> shift) + 1 > MAX_BUCKETS:
        shift += 1
    return shift
