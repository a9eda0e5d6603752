"""Rings of scores: the order statistic, its finite-sample promise, and what a ring forgets."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from chipwatt.collector.forecast.scores import RING, Scores
from chipwatt.core.tables import Array

SCORES = arrays(np.float32, st.integers(1, 400), elements=st.floats(-1, 1, width=32))
FIRST = np.array([0])


def ring_of(values: Array, overlap: int = 1) -> Scores:
    scores = Scores(1, overlap)
    scores.push(0, values)
    scores.settle_all()
    return scores


@settings(deadline=None)
@given(SCORES, st.floats(0.001, 0.999), st.integers(1, 8))
def test_margin_is_the_order_statistic(values: Array, quantile: float, overlap: int) -> None:
    margin, finite = ring_of(values, overlap).margins(FIRST, np.array([1.0 - quantile]))
    rank = math.ceil((len(values) + overlap) * quantile - 1e-6)
    if abs((len(values) + overlap) * quantile - round((len(values) + overlap) * quantile)) < 1e-6:
        return  # the rank hangs on the last bit
    assert finite[0] == (rank <= len(values))
    assert margin[0] == np.sort(values)[min(max(rank, 1), len(values)) - 1]


@settings(deadline=None)
@given(SCORES, st.lists(st.floats(0.01, 0.99), min_size=2, max_size=6))
def test_margins_rise_with_the_quantile(values: Array, quantiles: list[float]) -> None:
    alpha = 1.0 - np.array(sorted(quantiles))
    margins, finite = ring_of(values).margins(np.zeros(len(alpha), dtype=int), alpha)
    assert (np.diff(margins) >= 0).all()
    assert (np.diff(finite.astype(int)) <= 0).all()


@pytest.mark.parametrize("count", [99, 100, 250, 1_000])
@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.99])
def test_an_unseen_score_is_covered_as_promised(count: int, quantile: float) -> None:
    rng = np.random.default_rng(count)
    held = []
    for _ in range(2_000):
        drawn = rng.standard_cauchy(count + 1)  # no mean: the promise needs no shape
        margin, finite = ring_of(drawn[:-1]).margins(FIRST, np.array([1.0 - quantile]))
        held.append(not finite[0] or np.float32(drawn[-1]) <= margin[0])
    deviation = math.sqrt(quantile * (1 - quantile) / len(held))
    assert quantile - 4 * deviation <= np.mean(held)
    assert np.mean(held) <= quantile + 1 / (count + 1) + 4 * deviation


@settings(deadline=None)
@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=6))
def test_a_ring_keeps_the_newest(sizes: list[int]) -> None:
    scores, pushed = Scores(2), np.empty(0, dtype=np.float32)
    for size in sizes:
        new = np.arange(len(pushed), len(pushed) + size, dtype=np.float32)
        scores.push(1, new)
        pushed = np.concatenate([pushed, new])
    kept = pushed[-RING:]
    state = scores.state()
    assert state["counts"].tolist() == [0, len(kept)]
    np.testing.assert_array_equal(state["values"], kept)
    margins, _ = scores.margins(np.array([1]), np.array([1e-9]))
    assert margins[0] == kept[-1]


@settings(deadline=None)
@given(SCORES, st.floats(-1.5, 1.5), st.integers(1, 8))
def test_the_share_above_counts_the_unseen_one(values: Array, at: float, overlap: int) -> None:
    share = ring_of(values, overlap).above(FIRST, np.array([at]))[0]
    above = np.count_nonzero(values > np.float64(at))
    assert share == pytest.approx((above + overlap) / (len(values) + overlap))


def test_an_empty_ring_promises_nothing() -> None:
    margin, finite = Scores(1).margins(FIRST, np.array([0.5]))
    assert margin[0] == 0.0
    assert not finite[0]
    assert Scores(1).above(FIRST, np.array([0.0]))[0] == 1.0


def test_margins_are_not_older_than_a_fiftieth_of_the_ring() -> None:
    scores = Scores(1)
    scores.push(0, np.zeros(RING, dtype=np.float32))
    scores.settle(FIRST)
    scores.push(0, np.ones(RING // 50 + 1, dtype=np.float32))
    scores.settle(FIRST)
    assert scores.margins(FIRST, np.array([0.01]))[0][0] == 1.0


@settings(deadline=None)
@given(st.lists(SCORES, min_size=3, max_size=3), st.permutations([0, 1, 2, -1]))
def test_restores_each_ring_from_its_place(rings: list[Array], source: list[int]) -> None:
    old = Scores(3)
    for ring, values in enumerate(rings):
        old.push(ring, values)
    new = Scores(4)
    new.restore(old.state(), np.array(source))
    for ring, place in enumerate(source):
        wanted = rings[place][-RING:] if place >= 0 else np.empty(0)
        assert new.counts[ring] == len(wanted)
        if len(wanted):
            margin = new.margins(np.array([ring]), np.array([0.5]))[0]
            assert margin == old_margin(old, place)


def old_margin(scores: Scores, ring: int) -> Array:
    scores.settle_all()
    return scores.margins(np.array([ring]), np.array([0.5]))[0]
