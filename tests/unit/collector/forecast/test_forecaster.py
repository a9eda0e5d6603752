"""The forecast as a whole: coverage, order, bounds, cold start, and what it is told wrongly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from chipwatt.collector.forecast.contract import ForecastConfig, NodeSpec, Predictor, Weakness
from chipwatt.collector.forecast.forecaster import Forecaster
from chipwatt.collector.forecast.horizon import minute_base
from chipwatt.collector.forecast.sight import Seen
from chipwatt.core.tables import Array
from unit.collector.forecast.fleets import RATED_MW, SHORT, START_S, fed, feed, noise, peaks, specs

QUANTILES = (0.5, 0.9, 0.95, 0.99)
Load = Callable[[int, int], Array]
"""Power by (node count, seconds)."""


def skewed(nodes: int, seconds: int) -> Array:
    """Return rare bursts on quiet nodes, of a length that windows share."""
    rng = np.random.default_rng(7)
    burst = rng.random((seconds, nodes)) < 0.003
    height = rng.pareto(3.0, (seconds, nodes)) * 0.1 * RATED_MW
    kernel = np.exp(-np.arange(60) / 10)
    bursts = np.stack([np.convolve(c, kernel)[:seconds] for c in (burst * height).T], axis=1)
    return 0.2 * RATED_MW + bursts + rng.normal(0, 1e3, (seconds, nodes))


NODES, SECONDS, HORIZON_S = 60, 2_400, 60


def told_and_came(
    forecaster: Forecaster, power: Array, start_s: int, ask: Callable[[int, float], Array]
) -> list[tuple[list[Array], Array]]:
    """Take a series; return what was answered at each origin and quantile, and what then came."""
    windows = sliding_window_view(power, HORIZON_S, axis=0).max(axis=2)
    origins, found = range(700, SECONDS - HORIZON_S, 20), []
    for second in range(SECONDS):
        forecaster.step(start_s + second, power[second], power[second])
        if second in origins:
            found.append(([ask(second, q) for q in QUANTILES], windows[second + 1]))
    return found


@pytest.mark.parametrize("load", [noise, skewed])
def test_exchangeable_nodes_are_covered_as_promised(load: Load) -> None:
    power = np.minimum(load(NODES, SECONDS), 5 * RATED_MW)
    forecaster = Forecaster(specs(NODES, rated_mw=5 * RATED_MW), SHORT)
    found = told_and_came(
        forecaster, power, START_S, lambda _, q: forecaster.predict(HORIZON_S, q).peak_mw
    )
    for number, quantile in enumerate(QUANTILES):
        share = float(np.mean([came <= said[number] for said, came in found]))
        assert quantile - 0.015 <= share <= quantile + 0.03
    booked = forecaster.calibration(6, HORIZON_S, 0.9)
    assert booked.windows > 50 * NODES
    assert booked.coverage == pytest.approx(0.9, abs=0.04)


@pytest.mark.parametrize("load", [noise, skewed])
def test_what_minutes_alone_predict_is_scored_and_told_when_the_day_is_over(load: Load) -> None:
    power = np.minimum(load(NODES, SECONDS), 5 * RATED_MW)
    forecaster = Forecaster(specs(NODES, rated_mw=5 * RATED_MW), SHORT)
    cold = np.full(NODES, 5 * RATED_MW), np.full(NODES, int(Predictor.NAMEPLATE))
    start_s = (START_S // 86_400 + 1) * 86_400 - SECONDS
    last = None

    def by_the_minute(second: int, quantile: float) -> Array:
        nonlocal last
        end = (second + 1) // 60 * 60
        base = minute_base(power[end - 480 : end].reshape(8, 60, NODES).mean(axis=1))
        last = forecaster.sight(HORIZON_S).predict_on(Seen(base, *cold), quantile)
        return last.peak_mw

    found = told_and_came(forecaster, power, start_s, by_the_minute)
    assert forecaster.calibration(6, HORIZON_S, 0.9, Predictor.BY_THE_MINUTE).windows == 0
    for second in range(80):
        forecaster.step(start_s + SECONDS + second, power[-1], power[-1])
    for number, quantile in enumerate(QUANTILES):
        held = [came <= said[number] for said, came in found]
        booked = forecaster.calibration(6, HORIZON_S, quantile, Predictor.BY_THE_MINUTE)
        assert booked.windows > 50 * NODES
        assert booked.coverage == pytest.approx(np.mean(held), abs=0.02)
        assert quantile - 0.03 <= booked.coverage <= quantile + 0.03
    assert last is not None
    assert (last.predictor == Predictor.BY_THE_MINUTE).all()


@pytest.fixture(scope="module")
def seasoned() -> Forecaster:
    """Return a forecast of two horizons after half an hour."""
    return fed(20, 1_800, config=ForecastConfig((60, 300), lag_s=15))


@settings(deadline=None)
@given(quantiles=st.lists(st.floats(0.01, 0.9999), min_size=2, max_size=8))
def test_peaks_rise_with_the_quantile(seasoned: Forecaster, quantiles: list[float]) -> None:
    for said in peaks(seasoned, sorted(quantiles)).values():
        assert (np.diff(said, axis=0) >= -1e-6).all()


@settings(deadline=None)
@given(limits=st.lists(st.floats(0, 1.2 * RATED_MW), min_size=2, max_size=8))
def test_a_higher_limit_is_passed_less_often(seasoned: Forecaster, limits: list[float]) -> None:
    for horizon_s in (60, 300):
        risks = [seasoned.exceed_probability(horizon_s, np.full(20, x)) for x in sorted(limits)]
        assert (np.diff(np.stack(risks), axis=0) <= 1e-12).all()
        assert ((np.stack(risks) >= 0) & (np.stack(risks) <= 1)).all()


@settings(deadline=None)
@given(quantile=st.floats(0.05, 0.99))
def test_the_predicted_peak_is_passed_as_often_as_asked(
    seasoned: Forecaster, quantile: float
) -> None:
    said = seasoned.predict(60, quantile)
    risk = seasoned.exceed_probability(60, said.peak_mw * (1 + 1e-6))
    assert (risk <= 1.0 - quantile + 1e-6).all()
    below = seasoned.exceed_probability(60, said.peak_mw - 0.02 * RATED_MW)
    inside = said.peak_mw - 0.02 * RATED_MW > said.base_mw
    assert (below[inside] > 1.0 - quantile - 0.01).all()


def test_some_nodes_are_answered_as_all_are(seasoned: Forecaster) -> None:
    which = np.array([3, 17, 3])
    every, some = seasoned.predict(300, 0.95), seasoned.predict(300, 0.95, which)
    for field in ("peak_mw", "base_mw", "margin_mw", "predictor", "scores", "weakness"):
        np.testing.assert_array_equal(getattr(every, field)[which], getattr(some, field))
    limit = np.full(20, 5e5)
    np.testing.assert_array_equal(
        seasoned.exceed_probability(300, limit)[which],
        seasoned.exceed_probability(300, limit[which], which),
    )
    curve = seasoned.curve(3, 300, (0.5, 0.95))
    assert curve[1] == every.peak_mw[3]


def test_parts_add_up(seasoned: Forecaster) -> None:
    said = seasoned.predict(60, 0.99)
    assert (said.predictor == Predictor.CONFORMAL).all()
    assert (said.weakness == 0).all()
    total = said.base_mw + said.template_mw + said.margin_mw + said.assumed_mw
    np.testing.assert_allclose(said.peak_mw, total)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    level=st.floats(0, 2),
    skips=st.sets(st.integers(0, 699), max_size=40),
    jump_s=st.integers(0, 10_000),
    known=st.floats(0, 1),
)
def test_peaks_stay_between_now_and_the_highest(
    seed: int, level: float, skips: set[int], jump_s: int, known: float
) -> None:
    rng = np.random.default_rng(seed)
    forecaster = Forecaster(specs(4), ForecastConfig((60, 300)))
    rows = level * noise(4, 700, seed)
    feed(forecaster, rows[:600], skip=skips)
    assumed = np.zeros(4)
    for second, row in enumerate(rows[600:], start=600 + jump_s):
        share = np.where(rng.random(4) < 0.3, known, 1.0)
        assumed = (1 - share) * RATED_MW
        forecaster.step(START_S + second, row + assumed, row + assumed, None, assumed, share)
    now = rows[-1] + assumed
    highest = max(RATED_MW, float(rows.max()) * 1.05)
    for said in peaks(forecaster).values():
        assert np.isfinite(said).all()
        assert (said >= now - 1e-3).all()
        assert (said <= np.maximum(highest, now) * (1 + 1e-6)).all()
        assert (np.diff(said, axis=0) >= -1e-3).all()


def test_what_a_peer_has_drawn_bounds_the_others() -> None:
    other = NodeSpec("other", 8, "", RATED_MW, RATED_MW)
    forecaster = Forecaster([*specs(2), other], SHORT)
    power = np.full(3, 9e5)
    forecaster.step(START_S, power, np.array([1.3e6, 9e5, 9e5]))
    for second in range(1, 70):
        forecaster.step(START_S + second, power + 5e5 * (second % 2), power)
    bound = forecaster.predict(60, 0.99).peak_mw
    assert bound.tolist() == pytest.approx([1.4e6] * 3)
    forecaster.step(START_S + 70, power, power)
    forecaster.step(START_S + 71, power * 0, power * 0)
    assert (forecaster.predict(60, 0.999).peak_mw <= 1.4e6 + 1).all()


def test_starts_with_nameplate_then_the_rules_then_its_own() -> None:
    forecaster = Forecaster(specs(3), SHORT)
    assert (forecaster.predict(60, 0.99).predictor == Predictor.NAMEPLATE).all()
    rows = noise(3, 1_200)
    feed(forecaster, rows[:30])
    first = forecaster.predict(60, 0.99)
    np.testing.assert_allclose(first.peak_mw, RATED_MW)
    feed(forecaster, rows[30:200], START_S + 30)
    cold = forecaster.predict(60, 0.99)
    assert (cold.predictor == Predictor.N_SIGMA).all()
    assert (cold.weakness == Weakness.COLD_START).all()
    n_sigma = rows[:200].mean(axis=0) + 5 * rows[:200].std(axis=0)
    np.testing.assert_allclose(cold.peak_mw, n_sigma, rtol=1e-6)
    rc_like = n_sigma * 1.1
    forecaster.step(START_S + 200, rows[200], rows[200], rc_like)
    rc = forecaster.predict(60, 0.99)
    assert (rc.predictor == Predictor.RC_LIKE).all()
    np.testing.assert_allclose(rc.peak_mw, rc_like)
    feed(forecaster, rows[201:], START_S + 201)
    warm = forecaster.predict(60, 0.99)
    assert (warm.predictor == Predictor.CONFORMAL).all()
    assert (warm.scores >= 50).all()


def test_a_quantile_beyond_the_scores_is_not_below_n_sigma() -> None:
    forecaster = fed(3, 1_000)
    said = forecaster.predict(60, 0.99999)
    assert (said.predictor == Predictor.CONFORMAL).all()
    assert (said.peak_mw >= forecaster.classic(Predictor.N_SIGMA)).all()
    assert (said.peak_mw >= forecaster.predict(60, 0.9).peak_mw).all()


def test_refuses_bins_out_of_order_and_keeps_what_it_knew() -> None:
    forecaster = fed(2, 400)
    before = peaks(forecaster)
    for second in (399, 0, -5):
        with pytest.raises(ValueError, match="does not come after"):
            forecaster.step(START_S + second, np.zeros(2), np.zeros(2))
    np.testing.assert_array_equal(peaks(forecaster)[60], before[60])


@pytest.mark.parametrize("bad", [np.zeros(3), np.array([1.0, np.nan]), np.array([np.inf, 1.0])])
def test_refuses_what_is_no_power(bad: Array) -> None:
    forecaster = fed(2, 10)
    good = np.zeros(2)
    for mean, peak, assumed in ((bad, good, good), (good, bad, good), (good, good, bad)):
        with pytest.raises(ValueError, match="power of 2 nodes"):
            forecaster.step(START_S + 10, mean, peak, None, assumed)
    forecaster.step(START_S + 10, good, good)


@pytest.mark.parametrize("quantile", [0.0, 1.0, -1.0, float("nan")])
def test_refuses_what_is_no_quantile(quantile: float) -> None:
    with pytest.raises(ValueError, match="quantile"):
        fed(1, 5).predict(60, quantile)
    with pytest.raises(KeyError):
        fed(1, 5).predict(61, 0.5)
