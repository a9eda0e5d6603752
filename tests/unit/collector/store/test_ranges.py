"""Ranges against a set of integers."""

from __future__ import annotations

from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from chipwatt.collector.store.ranges import Ranges

PAIRS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda p: (p[0], p[0] + p[1]))
)


@settings(deadline=None)
@given(PAIRS)
def test_ranges_are_a_set(pairs: list[tuple[int, int]]) -> None:
    ranges, model = Ranges(), set[int]()
    for low, high in pairs:
        new = set(range(low, high + 1)) - model
        assert ranges.add(low, high) == len(new)
        model |= new
        assert ranges.covered == len(model)
    assert [n for n in range(-2, 80) if n in ranges] == sorted(model)
    spread = ranges.pairs()
    assert all(a[1] + 1 < b[0] for a, b in pairwise(spread))
    assert len(ranges) == len(spread)
    if model:
        assert ranges.missing == max(model) - min(model) + 1 - len(model)
    assert Ranges(spread).pairs() == spread


def test_upside_down_is_refused() -> None:
    with pytest.raises(ValueError, match="upside down"):
        Ranges([(2, 1)])
