"""Open windows: each closes once, with the highest peak of exactly its seconds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.forecast.pending import Pending
from chipwatt.core.tables import Array

ZERO = np.zeros(2)
USABLE = np.ones(2, dtype=bool)


def open_at(pending: Pending, second: int, usable: Array = USABLE, share: Array = ZERO) -> None:
    margins = np.array([[second, -second, 0.0]])
    rows = pending.open(second, ZERO + second, ZERO, ZERO, ZERO, share, margins, usable)
    rows[:] = second


@settings(deadline=None)
@given(st.integers(6, 40), st.integers(0, 10), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_closes_with_the_highest_of_its_seconds(
    horizon_s: int, lag_s: int, origins: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    power = rng.uniform(0, 1e6, (200, 2)).astype(np.float32)
    pending = Pending(horizon_s, lag_s, origins, 3, 2, (1, 3))
    opened, closed = [], []
    for second in range(200):
        pending.observe(power[second], None)
        for window in pending.closed(second):
            origin = int(window.slow_mw[0])
            last = origin + horizon_s + lag_s
            assert last == second
            np.testing.assert_array_equal(window.highest_mw, power[origin + 1 : last + 1].max(0))
            assert (window.predicted_mw == origin).all()
            assert window.minute_margins.tolist() == [[origin, -origin, 0]]
            assert window.whole.all()
            closed.append(origin)
        if second % pending.stride_s == 0:
            open_at(pending, second)
            opened.append(second)
    assert closed == [second for second in opened if second + horizon_s + lag_s < 200]


def test_one_broken_second_breaks_the_window_of_that_node_only() -> None:
    pending = Pending(60, 0, 6, 1, 2, (1, 3))
    open_at(pending, 0)
    pending.observe(ZERO, np.array([False, True]))
    (window,) = pending.closed(60)
    assert window.whole.tolist() == [True, False]
    assert list(pending.closed(61)) == []


def test_what_was_not_usable_at_its_origin_stays_broken() -> None:
    pending = Pending(60, 0, 6, 1, 2, (1, 3))
    open_at(pending, 0, np.array([False, True]))
    (window,) = pending.closed(90)
    assert window.whole.tolist() == [False, True]


def test_giving_up_breaks_every_window() -> None:
    pending = Pending(60, 0, 6, 1, 2, (1, 3))
    for second in (0, 10, 20):
        open_at(pending, second)
    pending.break_all()
    assert [window.whole.any() for window in pending.closed(80)] == [False] * 3


def test_the_oldest_gives_way_where_origins_crowd() -> None:
    pending = Pending(60, 0, 6, 1, 2, (1, 3))
    for second in range(7):
        open_at(pending, second)
    assert [int(window.slow_mw[0]) for window in pending.closed(100)] == pytest.approx(
        [6, 1, 2, 3, 4, 5]
    )


def test_a_restored_window_has_its_nodes_scales_and_cohorts() -> None:
    old, new = (Pending(60, 0, 6, 1, 2, (1, 3)) for _ in range(2))
    open_at(old, 5, share=np.array([0.5, 0.25]))
    new.restore(old.state(), np.array([-1, 0]), np.array([1, -1, 0]), np.array([1.0, 0.5]))
    (window,) = new.closed(65)
    assert window.whole.tolist() == [False, True]
    np.testing.assert_array_equal(window.minute_share, [np.nan, 0.25])
    np.testing.assert_array_equal(window.minute_margins, [[-5, np.nan, 5]])
