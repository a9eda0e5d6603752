from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.placement.score import HIGHEST_S, expected_rise, highest_gaps

SERIES = st.lists(st.integers(0, 1_000), min_size=1, max_size=8)


@given(SERIES, st.integers(1, 2_000), st.floats(0.01, 1.0))
def test_the_expected_rise_is_the_mean_over_every_course_of_the_load(
    series: list[int], peak: int, duty: float
) -> None:
    gaps = highest_gaps(np.array([series], dtype=np.float32))
    got = expected_rise(gaps, np.array([float(peak)]), np.array([duty]))[0]
    mean = 0.0
    for course in itertools.product((0, 1), repeat=len(series)):
        chance = math.prod(duty if up else 1 - duty for up in course)
        mean += chance * max(s + peak * up for s, up in zip(series, course, strict=True))
    # While it is down all along, the rest counts as the lowest second that is looked at.
    never = (1 - duty) ** len(series) * max(0, peak - (max(series) - min(series)))
    assert got == pytest.approx(mean - max(series) + never, abs=1e-6)


@given(st.integers(1, 600), st.integers(1, 2_000), st.floats(0.01, 1.0))
def test_the_rise_lies_between_nothing_and_the_peak(length: int, peak: int, duty: float) -> None:
    history = np.random.default_rng(length).uniform(0, 1_000, (3, length))
    rise = expected_rise(highest_gaps(history), np.full(3, float(peak)), np.full(3, duty))
    assert (rise >= 0).all()
    assert (rise <= peak + 1e-6).all()


def test_a_flat_history_is_met_and_a_single_spike_is_not() -> None:
    flat, spike = np.full(600, 100.0), np.full(600, 100.0)
    spike[77] = 900.0
    gaps = highest_gaps(np.stack([flat, spike]))
    assert gaps.shape == (2, HIGHEST_S)
    met, missed = expected_rise(gaps, np.full(2, 400.0), np.full(2, 0.25))
    assert met == pytest.approx(400.0)
    assert missed == pytest.approx(100.0)
