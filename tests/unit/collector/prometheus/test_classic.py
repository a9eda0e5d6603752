from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
)

from chipwatt.collector.prometheus.classic import SECONDS, WATTS, explicit, exponential
from chipwatt.core.histogram import build

POWERS_MW = st.lists(st.integers(0, 6_000_000), min_size=1, max_size=60)


def as_point(powers_mw: list[int]) -> ExponentialHistogramDataPoint:
    made = build(np.array(powers_mw), np.ones(len(powers_mw), dtype=np.int64))
    point = ExponentialHistogramDataPoint(
        scale=made.scale, zero_count=made.zero_ms, count=len(powers_mw), sum=sum(powers_mw) / 1000
    )
    point.positive.offset = made.offset
    point.positive.bucket_counts.extend(made.counts_ms)
    return point


@settings(deadline=None)
@given(POWERS_MW)
def test_every_bound_has_what_lies_at_or_below_it(powers_mw: list[int]) -> None:
    point = as_point(powers_mw)
    classic = exponential(point)
    assert classic.count == len(powers_mw)
    for bound, below in zip(classic.bounds, classic.below, strict=True):
        true = sum(power / 1000 <= bound for power in powers_mw)
        # A scale below that of the bounds has buckets which hold several of them.
        assert below == true if point.scale >= 1 else below <= true


@settings(deadline=None)
@given(POWERS_MW)
def test_counts_never_fall_from_bound_to_bound(powers_mw: list[int]) -> None:
    below = exponential(as_point(powers_mw)).below
    assert list(below) == sorted(below)
    assert below[-1] <= len(powers_mw)


@pytest.mark.parametrize(("steps", "least", "most"), [(WATTS, 1, 4096), (SECONDS, 2**-10, 64)])
def test_the_bounds_are_two_a_doubling(steps: range, least: float, most: float) -> None:
    bounds = exponential(ExponentialHistogramDataPoint(), steps).bounds
    assert (bounds[0], bounds[2], bounds[-1]) == (least, 2 * least, most)


def test_times_below_a_second_are_told_apart() -> None:
    """2 ms and 50 ms, as the SDK keeps them at scale 1."""
    point = ExponentialHistogramDataPoint(scale=1, count=2, sum=0.052)
    point.positive.offset = -18
    point.positive.bucket_counts.extend([1, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    classic = exponential(point, SECONDS)
    below = dict(zip(classic.bounds, classic.below, strict=True))
    assert (below[2**-9], below[2**-8], below[2**-4]) == (0, 1, 2)


def test_a_histogram_with_bounds_keeps_them() -> None:
    point = HistogramDataPoint(
        explicit_bounds=[0.1, 1.0], bucket_counts=[3, 2, 1], count=6, sum=4.5
    )
    made = explicit(point)
    assert (made.bounds, made.below, made.count, made.total) == ((0.1, 1.0), (3, 5), 6, 4.5)
