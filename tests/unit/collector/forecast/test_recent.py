"""The last ten minutes: mean, deviation and highest peak, against the plain computation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.forecast.recent import SIGMAS, Recent

SEEN = np.ones(2, dtype=bool)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 1_500), st.sets(st.integers(0, 1_499)))
def test_holds_ten_whole_minutes_and_the_running_one(
    start: int, seconds: int, missing: set[int]
) -> None:
    rng = np.random.default_rng(seconds)
    recent, taken = Recent(2), []
    for second in range(start, start + seconds):
        if second - start in missing:
            continue
        mean = rng.uniform(1e5, 1e6, 2)
        recent.observe(second, mean, mean * 1.1, SEEN)
        taken.append((second, mean))
    if not taken:
        return
    first = (taken[-1][0] // 60 - 10) * 60
    rows = np.array([mean for second, mean in taken if second >= first])
    wanted = rows.mean(axis=0) + SIGMAS * rows.std(axis=0)
    np.testing.assert_allclose(recent.n_sigma_mw(), wanted, rtol=1e-4)
    np.testing.assert_allclose(recent.highest_mw(), rows.max(axis=0) * 1.1, rtol=1e-6)


def test_what_was_not_seen_is_no_zero() -> None:
    recent = Recent(2)
    for second in range(100):
        recent.observe(second, np.array([1e6, 5.0]), np.array([1e6, 5.0]), np.array([True, False]))
    assert recent.n_sigma_mw()[0] == pytest.approx(1e6)
    assert recent.n_sigma_mw()[1] == recent.highest_mw()[1] == 0.0


def test_forgets_after_a_long_silence() -> None:
    recent = Recent(2)
    recent.observe(0, np.full(2, 9e5), np.full(2, 9e5), SEEN)
    recent.observe(10_000, np.full(2, 1e5), np.full(2, 1e5), SEEN)
    np.testing.assert_allclose(recent.highest_mw(), 1e5)
