"""Corrections of alpha: they follow misses, stay within a factor of twenty, and never cross."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from chipwatt.collector.forecast.alpha import SCORED, Alpha
from chipwatt.core.tables import Array

MISSES = arrays(np.bool_, st.tuples(st.integers(1, 300), st.just(len(SCORED)), st.just(3)))


def learned(misses: Array) -> Alpha:
    alpha = Alpha(3, origins=1)
    for missed in misses:
        alpha.learn(missed, np.ones_like(missed))
    return alpha


def test_starts_as_asked() -> None:
    for quantile in (0.3, 0.5, 0.75, 0.99, 0.9999):
        np.testing.assert_allclose(Alpha(2, 6).at(quantile), 1.0 - quantile)


@settings(deadline=None)
@given(MISSES, st.sampled_from(SCORED))
def test_stays_within_a_factor_of_twenty(misses: Array, quantile: float) -> None:
    aim = 1.0 - quantile
    alpha = learned(misses).at(quantile)
    assert ((aim / 20 - 1e-9 <= alpha) & (alpha <= 20 * aim + 1e-9)).all()


@settings(deadline=None)
@given(MISSES)
def test_the_clamp_is_reached_and_left_again(misses: Array) -> None:
    alpha = learned(misses)
    all_missed = np.ones((len(SCORED), 3), dtype=bool)
    for _ in range(200):
        alpha.learn(all_missed, all_missed)
    low = alpha.at(0.5)
    alpha.learn(~all_missed, all_missed)
    assert (alpha.at(0.5) > low).all()


@settings(deadline=None)
@given(MISSES)
def test_a_higher_quantile_never_reads_more_scores_away(misses: Array) -> None:
    alpha = learned(misses)
    read = np.stack([alpha.at(q) for q in (0.1, 0.5, 0.6, 0.9, 0.93, 0.95, 0.99, 0.999, 0.99999)])
    assert (np.diff(read, axis=0) <= 1e-12).all()


@settings(deadline=None)
@given(MISSES, st.floats(0.001, 0.9999))
def test_share_is_the_inverse_where_no_quantiles_fell_together(
    misses: Array, quantile: float
) -> None:
    alpha = learned(misses)
    read = np.stack([alpha.at(q) for q in SCORED])
    apart = (np.diff(read, axis=0) < -1e-6).all(axis=0)
    back = alpha.share(alpha.at(quantile))
    np.testing.assert_allclose(back[apart], 1.0 - quantile, rtol=1e-3, atol=1e-7)


def test_a_miss_lowers_alpha_and_a_hit_raises_it() -> None:
    missed = np.zeros((len(SCORED), 3), dtype=bool)
    missed[:, 0] = True
    counts = np.ones_like(missed)
    counts[:, 2] = False
    alpha = Alpha(3, origins=6)
    alpha.learn(missed, counts)
    for quantile in SCORED:
        miss, hit, uncounted = alpha.at(quantile)
        assert miss < uncounted < hit
        assert uncounted == np.float64(1.0) - quantile or abs(uncounted - (1 - quantile)) < 1e-12


def test_misses_at_the_promised_rate_leave_it_where_it_is() -> None:
    rng = np.random.default_rng(5)
    aim = (1.0 - np.array(SCORED))[:, np.newaxis]
    alpha = Alpha(50, origins=6)
    for _ in range(4_000):
        missed = rng.random((len(SCORED), 50)) < aim
        alpha.learn(missed, np.ones_like(missed))
    for quantile in SCORED:
        assert abs(float(np.log(alpha.at(quantile) / (1 - quantile)).mean())) < 0.5
