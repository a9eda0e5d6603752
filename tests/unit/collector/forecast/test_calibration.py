"""The book: shares and losses against the plain computation, for seven days and no longer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from chipwatt.collector.forecast.alpha import SCORED
from chipwatt.collector.forecast.calibration import Book
from chipwatt.collector.forecast.contract import Predictor
from chipwatt.core.tables import Array

SHARES = st.floats(0, 2, width=32)
SCORED_ROWS = arrays(np.float64, (1 + len(SCORED), 6), elements=SHARES)
KINDS = np.array([6, 6, 6, 7, 7, 8])
DAY_S = 86_400


@given(SCORED_ROWS)
def test_coverage_and_loss_are_what_they_say(scored: Array) -> None:
    book = Book((60, 600))
    book.enter(1, Predictor.CONFORMAL, scored, KINDS)
    for row, quantile in enumerate(SCORED, start=1):
        found = book.read(Predictor.CONFORMAL, 6, 600, quantile)
        off = scored[0, :3] - scored[row, :3]
        assert found.windows == 3
        assert found.coverage == pytest.approx(np.mean(off <= 1e-6))
        loss = np.maximum(quantile * off, (quantile - 1) * off).mean()
        assert found.pinball == pytest.approx(loss, abs=1e-12)
    assert book.read(Predictor.CONFORMAL, 6, 60, 0.99).windows == 0
    assert np.isnan(book.read(Predictor.CONFORMAL, 5, 600, 0.99).coverage)


def test_what_was_not_predicted_is_not_counted() -> None:
    book = Book((60,))
    scored = np.array([[0.5, 0.5, 0.9], [np.nan, 0.6, 0.6]])
    book.enter(0, Predictor.RC_LIKE, scored, np.array([6, 6, 6]))
    for quantile in SCORED:
        found = book.read(Predictor.RC_LIKE, 6, 60, quantile)
        assert (found.windows, found.coverage) == (2, 0.5)
        assert found.pinball == pytest.approx((quantile * 0.3 + (1 - quantile) * 0.1) / 2)


@given(st.integers(0, 40), st.integers(0, 40))
def test_a_day_counts_for_seven_more(first: int, later: int) -> None:
    book = Book((60,))
    hit = np.array([[0.5], [0.6]])
    book.turn(first * DAY_S)
    book.enter(0, Predictor.N_SIGMA, hit, np.array([6]))
    book.turn((first + later) * DAY_S + 5)
    # Whether a window closes on that day or none: what is too old is gone.
    assert book.read(Predictor.N_SIGMA, 6, 60, 0.9).windows == (1 if later < 8 else 0)
    book.enter(0, Predictor.N_SIGMA, hit, np.array([6]))
    assert book.read(Predictor.N_SIGMA, 6, 60, 0.9).windows == (2 if later < 8 else 1)


def test_by_the_minute_a_day_counts_when_it_is_over() -> None:
    book, many = Book((60,)), 500
    rows = np.tile(np.array([[0.5], *[[0.6]] * len(SCORED)]), many)
    windows = []
    for day in range(10):
        book.turn(day * DAY_S)
        for _ in range(2):
            book.enter(0, Predictor.BY_THE_MINUTE, rows, np.full(many, 6))
            found = book.read(Predictor.BY_THE_MINUTE, 6, 60, 0.9)
            assert bool(list(book.all())) == (found.windows > 0)
            windows.append(found.windows)
    assert windows == [2 * many * min(day, 7) for day in range(10) for _ in range(2)]


@pytest.mark.parametrize(("windows", "told"), [(999, 0), (1_000, 1_000)])
def test_by_the_minute_a_few_windows_are_not_told(windows: int, told: int) -> None:
    book = Book((60,))
    rows = np.tile(np.array([[0.5], *[[0.4]] * len(SCORED)]), windows)
    book.turn(DAY_S - 10)
    book.enter(0, Predictor.BY_THE_MINUTE, rows, np.full(windows, 6))
    book.turn(DAY_S)
    found = book.read(Predictor.BY_THE_MINUTE, 6, 60, 0.9)
    assert found.windows == told
    assert np.isnan(found.coverage) if not told else found.coverage == 0.0


def test_yields_what_has_windows() -> None:
    book = Book((60, 600))
    book.enter(1, Predictor.NAMEPLATE, np.array([[0.5], [1.0]]), np.array([8]))
    every = list(book.all())
    assert {(c.predictor, c.kind, c.horizon_s) for c in every} == {(Predictor.NAMEPLATE, 8, 600)}
    assert sorted(c.quantile for c in every) == list(SCORED)
    assert all(c.coverage == 1.0 for c in every)


def test_reads_the_quantile_that_is_nearest() -> None:
    book = Book((60,))
    assert book.read(Predictor.CONFORMAL, 6, 60, 0.98).quantile == 0.99
    assert book.read(Predictor.CONFORMAL, 6, 60, 0.1).quantile == 0.5
    with pytest.raises(ValueError, match="not in tuple"):
        book.read(Predictor.CONFORMAL, 6, 61, 0.5)
