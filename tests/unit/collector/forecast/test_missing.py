"""Telemetry that is missing: seconds that nobody saw, children that are not heard from."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.forecast.contract import Predictor, Weakness
from chipwatt.collector.forecast.forecaster import Forecaster
from unit.collector.forecast.fleets import RATED_MW, SHORT, START_S, fed, feed, noise, specs


def windows(forecaster: Forecaster) -> int:
    return forecaster.calibration(6, 60, 0.9, Predictor.NAMEPLATE).windows


@settings(max_examples=10, deadline=None)
@given(st.sets(st.integers(0, 999), max_size=120))
def test_single_seconds_may_be_missing(missing: set[int]) -> None:
    runs = [
        second for second in missing if all(other in missing for other in range(second, second + 5))
    ]
    forecaster = Forecaster(specs(10), SHORT)
    feed(forecaster, noise(10, 1_000), skip=missing - set(runs))
    said = forecaster.predict(60, 0.99)
    assert (said.predictor == Predictor.CONFORMAL).all()
    plain = fed(10, 1_000).predict(60, 0.99)
    np.testing.assert_allclose(said.peak_mw, plain.peak_mw, rtol=0.15)


def test_a_window_across_a_gap_is_not_scored() -> None:
    plain, gapped = fed(10, 1_200), Forecaster(specs(10), SHORT)
    feed(gapped, noise(10, 1_200), skip=range(801, 807))
    # Six windows are open at any moment: they are lost.
    assert windows(plain) - windows(gapped) == 6 * 10


def test_a_node_that_was_not_whole_is_not_scored() -> None:
    plain, partial = fed(10, 1_200), Forecaster(specs(10), SHORT)
    for second, row in enumerate(noise(10, 1_200)):
        known = np.ones(10)
        known[0] = 0.999 if second == 900 else 1.0
        partial.step(START_S + second, row, row * 1.05, None, None, known)
    assert windows(plain) - windows(partial) == 6 + 1  # the one that opened right then, too


def test_half_of_the_children_lost_widens_to_their_nameplate() -> None:
    forecaster = fed(10, 1_200)
    before = forecaster.predict(60, 0.99)
    rows = noise(10, 1_300)[1_200:] / 2
    assumed = np.zeros(10)
    known = np.ones(10)
    assumed[:5], known[:5] = RATED_MW / 2, 0.5
    for second, row in enumerate(rows, start=1_200):
        heard = np.where(known < 1, row, 2 * row)
        forecaster.step(START_S + second, heard + assumed, heard + assumed, None, assumed, known)
    after = forecaster.predict(60, 0.99)
    assert (after.peak_mw[:5] > before.peak_mw[:5]).all()
    assert (after.peak_mw[:5] >= RATED_MW / 2 + rows[-1, :5]).all()
    assert (after.assumed_mw == assumed).all()
    assert (after.weakness[:5] == Weakness.STALE).all()
    assert (after.weakness[5:] == 0).all()
    np.testing.assert_allclose(after.peak_mw[5:], before.peak_mw[5:], rtol=0.3)


def test_all_children_lost_is_the_nameplate() -> None:
    forecaster = fed(4, 1_200)
    power = np.full(4, RATED_MW)
    forecaster.step(START_S + 1_200, power, power, None, power, np.zeros(4))
    said = forecaster.predict(60, 0.5)
    assert (said.predictor == Predictor.NAMEPLATE).all()
    np.testing.assert_allclose(said.peak_mw, RATED_MW)
    assert (said.weakness == Weakness.STALE).all()
    risk = forecaster.exceed_probability(60, np.array([0.5, 0.9, 1.0, 1.1]) * RATED_MW)
    assert risk.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_what_comes_back_is_predicted_from_its_own_power() -> None:
    forecaster = fed(4, 1_200)
    before = forecaster.predict(60, 0.9)
    power = np.full(4, RATED_MW)
    for second in range(1_200, 1_400):
        forecaster.step(START_S + second, power, power, None, power, np.zeros(4))
    feed(forecaster, noise(4, 1_500)[1_400:], START_S + 1_400)
    after = forecaster.predict(60, 0.9)
    assert (after.predictor == Predictor.CONFORMAL).all()
    np.testing.assert_allclose(after.peak_mw, before.peak_mw, rtol=0.2)
