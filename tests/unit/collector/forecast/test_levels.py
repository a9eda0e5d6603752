"""Levels: a plain mean at first, exponential weights after; only what was seen counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from chipwatt.collector.forecast.levels import SETTLE_S, Levels
from chipwatt.core.tables import Array

ROWS = arrays(np.float64, st.tuples(st.integers(1, 60), st.just(3)), elements=st.floats(0, 1e9))
SEEN = np.ones(3, dtype=bool)
NONE = np.zeros(3, dtype=bool)


def levels_of(rows: Array, half_s: float = 1e9) -> Levels:
    levels = Levels([half_s], 3)
    for row in rows:
        levels.observe(row, SEEN, NONE)
    return levels


@settings(deadline=None)
@given(ROWS)
def test_begins_as_the_mean(rows: Array) -> None:
    levels = levels_of(rows)
    np.testing.assert_allclose(levels.level_mw[0], rows.mean(axis=0), rtol=1e-6, atol=1e-3)


@settings(deadline=None)
@given(ROWS, st.floats(1, 1_000))
def test_stays_among_what_was_seen(rows: Array, half_s: float) -> None:
    level = levels_of(rows, half_s).level_mw[0]
    assert (level >= rows.min(axis=0) - 1e-6 * rows.max()).all()
    assert (level <= rows.max(axis=0) + 1e-6 * rows.max()).all()


@settings(deadline=None)
@given(ROWS)
def test_what_is_not_seen_changes_nothing(rows: Array) -> None:
    levels = levels_of(rows, 30)
    level, volatility = levels.level_mw.copy(), levels.volatility_mw(0)
    levels.observe(np.full(3, 1e12), NONE, NONE)
    np.testing.assert_array_equal(levels.level_mw, level)
    np.testing.assert_array_equal(levels.volatility_mw(0), volatility)


def test_half_of_a_leap_is_forgotten_in_a_half_life() -> None:
    levels = levels_of(np.zeros((5_000, 3)), 60)
    for _ in range(60):
        levels.observe(np.full(3, 1e6), SEEN, NONE)
    np.testing.assert_allclose(levels.level_mw[0], 5e5, rtol=1e-6)


def test_a_restart_takes_the_new_power_and_has_to_settle_again() -> None:
    levels = levels_of(np.full((SETTLE_S, 3), 1e6), 600)
    assert levels.settled.all()
    levels.observe(np.full(3, 4e5), SEEN, np.array([True, False, False]))
    assert levels.level_mw[0, 0] == 4e5
    assert levels.level_mw[0, 1] > 9e5
    assert levels.settled.tolist() == [False, True, True]
    assert levels.age_s[0] == SETTLE_S + 1


def test_volatility_is_the_deviation() -> None:
    rng = np.random.default_rng(3)
    levels = levels_of(rng.normal(1e6, 5e4, (20_000, 3)), 600)
    np.testing.assert_allclose(levels.volatility_mw(0), 5e4, rtol=0.1)
    assert levels_of(np.full((50, 3), 7e5)).volatility_mw(0) == pytest.approx(0)
