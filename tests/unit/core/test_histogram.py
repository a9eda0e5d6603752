from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.core import histogram
from chipwatt.core.columns import MAX_BUCKETS, MAX_POWER_MW
from chipwatt.core.records import PowerHistogram

powers = st.integers(0, MAX_POWER_MW) | st.integers(0, 900_000) | st.sampled_from([1000, 2000, 500])
samples = st.lists(st.tuples(powers, st.integers(0, 10_000)), max_size=60)


def built(pairs: list[tuple[int, int]]) -> PowerHistogram:
    return histogram.build(
        np.array([power for power, _ in pairs], dtype=np.int64),
        np.array([time for _, time in pairs], dtype=np.int64),
    )


def bounds_w(index: int, scale: int) -> tuple[Decimal, Decimal]:
    with localcontext() as context:
        context.prec = 60
        unit = Decimal(2) ** -scale
        return Decimal(2) ** (index * unit), Decimal(2) ** ((index + 1) * unit)


def total_ms(part: PowerHistogram) -> int:
    return part.zero_ms + sum(part.counts_ms)


@given(st.integers(1, MAX_POWER_MW), st.integers(-4, histogram.MAX_SCALE))
def test_power_lies_in_its_bucket(power_mw: int, scale: int) -> None:
    (index,) = histogram.bucket_index(np.array([power_mw]), scale).tolist()
    low, high = bounds_w(index, scale)
    assert low < Decimal(power_mw) / 1000 <= high


def test_powers_of_two_are_the_upper_ends_of_their_buckets() -> None:
    watts = [1, 2, 4, 512]
    index = histogram.bucket_index(np.array([w * 1000 for w in watts]), 6)
    assert index.tolist() == [-1, 63, 127, 575]


@given(samples)
def test_every_millisecond_is_in_a_bucket_that_contains_its_power(
    pairs: list[tuple[int, int]],
) -> None:
    result = built(pairs)
    assert total_ms(result) == sum(time for _, time in pairs)
    assert result.zero_ms == sum(time for power, time in pairs if power == 0)
    assert len(result.counts_ms) <= MAX_BUCKETS
    expected: dict[int, int] = {}
    for power, time in pairs:
        if power:
            (index,) = histogram.bucket_index(np.array([power]), result.scale).tolist()
            expected[index] = expected.get(index, 0) + time
    counts = dict(enumerate(result.counts_ms, result.offset))
    assert {i: c for i, c in counts.items() if c} == {i: c for i, c in expected.items() if c}


@given(samples, samples)
def test_merge_is_the_histogram_of_both(
    first: list[tuple[int, int]], second: list[tuple[int, int]]
) -> None:
    merged, union = histogram.merge(built(first), built(second)), built([*first, *second])
    assert total_ms(merged) == total_ms(union)
    if merged.counts_ms and union.counts_ms:
        assert merged == union


@given(samples, samples, samples)
def test_merge_is_associative_and_commutes(
    first: list[tuple[int, int]], second: list[tuple[int, int]], third: list[tuple[int, int]]
) -> None:
    a, b, c = built(first), built(second), built(third)
    merge = histogram.merge
    assert merge(merge(a, b), c) == merge(a, merge(b, c))
    assert merge(a, b) == merge(b, a)


@given(samples, st.floats(0, 1))
def test_quantile_bounds_the_share_of_time_below(
    pairs: list[tuple[int, int]], quantile: float
) -> None:
    result = built(pairs)
    found = histogram.quantile_mw(result, quantile)
    if not total_ms(result):
        assert found is None
        return
    assert found is not None
    below = sum(time for power, time in pairs if power <= found + 1)
    assert below >= quantile * total_ms(result) - 1e-6
