"""Slopes: what least squares would say, drawn to 1 where little was seen, within bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from chipwatt.collector.forecast.slopes import Slopes
from chipwatt.core.tables import Array

SWINGS = arrays(np.float64, st.integers(1, 50), elements=st.floats(-1, 1))


@pytest.mark.parametrize("slope", [0.0, 0.4, 1.0, 1.3])
def test_finds_each_cohorts_slope(slope: float) -> None:
    rng = np.random.default_rng(1)
    slopes = Slopes(2)
    for _ in range(200):
        swing = rng.normal(0, 0.1, 100)
        rise = 0.3 + slope * swing + rng.normal(0, 0.02, 100)
        slopes.learn(np.zeros(100, dtype=int), swing, rise)
    assert slopes.slope[0] == pytest.approx(slope, abs=0.03)
    assert slopes.slope[1] == 1.0


@given(SWINGS, SWINGS)
def test_stays_within_bounds(swing: Array, rise: Array) -> None:
    size = min(len(swing), len(rise))
    slopes = Slopes(1)
    slopes.learn(np.zeros(size, dtype=int), swing[:size], rise[:size])
    assert 0.0 <= slopes.slope[0] <= 1.5


@given(st.floats(-1, 1), SWINGS)
def test_a_swing_that_never_varied_teaches_nothing(swing: float, rise: Array) -> None:
    slopes = Slopes(1)
    slopes.learn(np.zeros(len(rise), dtype=int), np.full(len(rise), swing), rise)
    assert slopes.slope[0] == pytest.approx(1.0, abs=1e-3)


def test_few_windows_hardly_move_it() -> None:
    slopes = Slopes(1)
    slopes.learn(np.zeros(10, dtype=int), np.linspace(-0.1, 0.1, 10), np.zeros(10))
    assert slopes.slope[0] == pytest.approx(200 / 210, abs=1e-3)
