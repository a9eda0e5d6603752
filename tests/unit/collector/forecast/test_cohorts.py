"""Cohorts: who shares a ring, volatility bins, and which scores a closing keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.forecast.cohorts import BINS, Cohorts
from chipwatt.collector.forecast.contract import NodeSpec

CLASSES = st.lists(
    st.tuples(st.integers(1, 9), st.sampled_from(["", "a", "b"])), min_size=1, max_size=40
)


def cohorts_of(kinds: list[tuple[int, str]], horizons: int = 2) -> Cohorts:
    nodes = [NodeSpec(f"n{n}", kind, name, 1.0, 1.0) for n, (kind, name) in enumerate(kinds)]
    return Cohorts(nodes, horizons)


@settings(deadline=None)
@given(CLASSES)
def test_a_cohort_is_a_kind_and_a_class(kinds: list[tuple[int, str]]) -> None:
    cohorts = cohorts_of(kinds)
    for one, mine in zip(kinds, cohorts.of, strict=True):
        for other, theirs in zip(kinds, cohorts.of, strict=True):
            assert (one == other) == (mine == theirs)


@settings(deadline=None)
@given(CLASSES)
def test_no_two_share_a_ring(kinds: list[tuple[int, str]]) -> None:
    cohorts = cohorts_of(kinds, horizons=3)
    every = [
        int(cohorts.ring(h, np.array(c), np.array(t), np.array(b)))
        for h in range(3)
        for c in range(len(cohorts.keys))
        for t in range(2)
        for b in range(BINS + 1)
    ]
    assert sorted(every) == list(range(cohorts.rings))


def test_bins_are_quintiles_of_those_that_have_settled() -> None:
    cohorts = cohorts_of([(6, "")] * 100)
    volatility = np.linspace(0.0, 1.0, 100)
    settled = np.ones(100, dtype=bool)
    counts = np.bincount(cohorts.bins(0, volatility, settled), minlength=BINS)
    assert counts.tolist() == [20] * BINS
    settled[:90] = False
    assert cohorts.bins(1, volatility, settled).max() == BINS - 1
    assert cohorts.bins(1, np.full(100, 0.91), settled).max() == 0


def test_edges_follow_slowly() -> None:
    cohorts = cohorts_of([(6, "")] * 100)
    volatility, settled = np.linspace(0.1, 1.0, 100), np.ones(100, dtype=bool)
    cohorts.bins(0, volatility, settled)
    assert cohorts.bins(0, 3 * volatility, settled).mean() > 3.0
    for _ in range(100):
        cohorts.bins(0, 3 * volatility, settled)
    assert cohorts.bins(0, 3 * volatility, settled).mean() == pytest.approx(2.0, abs=0.1)


@settings(deadline=None)
@given(st.integers(1, 1_000), st.integers(1, 7))
def test_a_large_cohort_is_thinned_to_a_hundred_by_turns(count: int, closings: int) -> None:
    cohorts = cohorts_of([(6, "")] * count)
    scored, bins = np.ones(count, dtype=bool), np.zeros(count, dtype=np.uint8)
    step = -(-count // 100)
    taken = []
    for _ in range(max(closings, step)):
        by_bin = {number: nodes for _, number, nodes in cohorts.samples(scored, bins)}
        assert set(by_bin) == {0, BINS}
        assert len(by_bin[BINS]) <= 100
        taken += by_bin[BINS].tolist()
    assert set(taken) == set(range(count))


def test_only_what_was_scored_is_kept_and_in_its_own_bin() -> None:
    cohorts = cohorts_of([(6, "")] * 4 + [(8, "gpu")] * 3)
    scored = np.array([True, False, True, True, False, False, False])
    bins = np.array([0, 0, 1, 1, 0, 0, 0], dtype=np.uint8)
    samples = [(c, b, nodes.tolist()) for c, b, nodes in cohorts.samples(scored, bins)]
    assert samples == [(0, BINS, [0, 2, 3]), (0, 0, [0]), (0, 1, [2, 3])]


@settings(deadline=None)
@given(CLASSES, CLASSES)
def test_a_restored_ring_is_that_of_its_cohort(
    then: list[tuple[int, str]], now: list[tuple[int, str]]
) -> None:
    old, new = cohorts_of(then), cohorts_of(now)
    _, rings, minute_rings = new.restore(old.state())
    assert (len(rings), len(minute_rings)) == (new.rings, new.minute_rings)
    some = np.array(1)
    for number, key in enumerate(new.keys):
        place = old.keys.index(key) if key in old.keys else -1
        mine, theirs = np.array(number), np.array(place)
        for horizon in range(2):
            there = int(old.minute_ring(horizon, theirs)) if place >= 0 else -1
            assert minute_rings[int(new.minute_ring(horizon, mine))] == there
            there = int(old.ring(horizon, theirs, some, some)) if place >= 0 else -1
            assert rings[int(new.ring(horizon, mine, some, some))] == there
