from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from chipwatt.agent.profiler.swing import find_swing

TIME_S = np.arange(1000) * 0.01


def means_of_sine(hertz: float, amplitude_mw: float, phase: float) -> NDArray[np.float64]:
    """Return exact 10 ms means of a sine on a pedestal."""
    bounds = -np.cos(2 * np.pi * hertz * np.arange(1001) * 0.01 + phase)
    series: NDArray[np.float64] = np.diff(bounds) / (2 * np.pi * hertz * 0.01)
    return 300_000 + amplitude_mw * series


@given(st.floats(0.35, 19.9), st.floats(1_000, 200_000), st.floats(0, 6.2))
def test_sine_is_found(hertz: float, amplitude_mw: float, phase: float) -> None:
    series = means_of_sine(hertz, amplitude_mw, phase)
    swing = find_swing(np.array_split(series, 10), 20_000)
    assert swing is not None
    assert swing.frequency_mhz == pytest.approx(1000 * hertz, abs=15)
    assert swing.amplitude_mw == pytest.approx(amplitude_mw, rel=0.05)
    assert swing.share_ppm > 980_000


def test_power_outside_the_band_lowers_its_share() -> None:
    inside = 40_000 * np.sin(2 * np.pi * 2 * TIME_S)
    outside = 40_000 * np.sin(2 * np.pi * 35 * TIME_S)
    swing = find_swing([300_000 + inside + outside], 20_000)
    assert swing is not None
    assert swing.frequency_mhz == pytest.approx(2_000, abs=5)
    assert swing.share_ppm == pytest.approx(500_000, abs=5_000)


def test_slow_sensor_is_not_asked_about_fast_swings() -> None:
    fast, slow = np.sin(2 * np.pi * 8 * TIME_S), 0.5 * np.sin(2 * np.pi * 0.5 * TIME_S)
    swing = find_swing([100_000 * (2 + fast + slow)], 4_000)
    assert swing is not None
    assert swing.frequency_mhz == pytest.approx(500, abs=10)


def test_steady_power_does_not_swing() -> None:
    assert find_swing([np.full(1000, 123_456.0)], 20_000) is None


def test_too_few_samples_or_no_band() -> None:
    assert find_swing([], 20_000) is None
    assert find_swing([means_of_sine(5, 1000, 0)[:199]], 20_000) is None
    assert find_swing([means_of_sine(5, 1000, 0)], 50) is None
