"""The time of day: usual rises by quarter of an hour, whole days only, fourteen of them at most."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.forecast.contract import ForecastConfig, Predictor
from chipwatt.collector.forecast.forecaster import Forecaster
from chipwatt.collector.forecast.template import QUARTER_S, Template
from chipwatt.core.tables import Array
from unit.collector.forecast.fleets import RATED_MW, specs

DAY_S = 86_400
WHOLE = np.ones(2, dtype=bool)
SCALE = np.array([1e6, 2e6])


def days_of(rises_mw: list[float], horizon_s: int = 3_600) -> Template:
    """Return a template after days that peak in one quarter, half an hour into each day."""
    template = Template((horizon_s,), SCALE)
    for day, rise in enumerate(rises_mw):
        for quarter in range(96):
            peak = 3e5 + (rise if quarter == 2 else 0.0)
            observe(template, day * DAY_S + quarter * QUARTER_S, peak)
    observe(template, len(rises_mw) * DAY_S, 3e5)
    return template


def observe(template: Template, second: int, peak_mw: float) -> None:
    template.observe(second, np.full(2, 3e5), np.full(2, peak_mw), WHOLE)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 6e5), min_size=1, max_size=20))
def test_is_the_median_of_fourteen_days_at_most(rises_mw: list[float]) -> None:
    template = days_of(rises_mw)
    kept = rises_mw[-14:]
    assert template.days(3_600).tolist() == [len(kept)] * 2
    # Half precision: one in 2,048, of shares near one half.
    np.testing.assert_allclose(template.rise_mw(3_600), np.median(kept), atol=2e-3 * 2e6)


def test_looks_as_far_ahead_as_the_horizon() -> None:
    template = Template((3_600, 10_800), SCALE)
    for quarter in range(96 + 1):
        observe(template, quarter * QUARTER_S, 9e5 if quarter == 6 else 3e5)
    assert template.rise_mw(3_600)[0] == pytest.approx(0, abs=1e3)
    assert template.rise_mw(10_800)[0] == pytest.approx(6e5, rel=2e-3)
    observe(template, 97 * QUARTER_S, 3e5)
    observe(template, 98 * QUARTER_S, 3e5)
    observe(template, 99 * QUARTER_S, 3e5)
    assert template.rise_mw(3_600)[0] == pytest.approx(6e5, rel=2e-3)


def test_a_lost_quarter_costs_its_day_and_no_other() -> None:
    template = Template((3_600,), SCALE)
    for day in range(3):
        for quarter in range(96):
            if day == 1 and quarter == 2:
                template.lose()
            observe(template, day * DAY_S + quarter * QUARTER_S, 3e5)
            if day == 1 and quarter == 2:
                template.lose()
    observe(template, 3 * DAY_S, 3e5)
    assert template.days(3_600).tolist() == [2, 2]


def test_a_node_that_was_not_whole_loses_its_own_quarter() -> None:
    template = Template((3_600,), SCALE)
    for quarter in range(97):
        whole = np.array([True, quarter != 1])
        template.observe(quarter * QUARTER_S, np.full(2, 3e5), np.full(2, 3e5), whole)
    assert template.days(3_600).tolist() == [1, 0]


def test_knows_the_quarter_that_is_usually_the_highest() -> None:
    template = days_of([4e5] * 3)
    assert template.peak_quarter(0, 3_600) == 3 * DAY_S + 2 * QUARTER_S
    assert template.peak_quarter(0, 600) == 0
    assert days_of([4e5] * 2).peak_quarter(0, 3_600) == 0


def test_restores_by_node_and_to_another_scale() -> None:
    old = days_of([2e5, 3e5, 4e5])
    new = Template((3_600,), np.array([4e6, 1e6, 1e6]))
    new.restore(old.state(), np.array([1, 0, -1]), np.array([SCALE[1] / 4e6, SCALE[0] / 1e6, 1]))
    assert new.days(3_600).tolist() == [3, 3, 0]
    np.testing.assert_allclose(new.rise_mw(3_600)[:2], 3e5, rtol=5e-3)
    assert np.isnan(new.rise_mw(3_600)[2])


def daily(second: int) -> Array:
    """Return a load that doubles from 12:00 to 13:00."""
    high = 12 * 3_600 <= second % DAY_S < 13 * 3_600
    wave = 0.02 * np.sin(second / 40 + np.arange(4))
    power: Array = RATED_MW * ((0.6 if high else 0.3) + wave)
    return power


def test_the_forecast_uses_it_after_three_days() -> None:
    forecaster = Forecaster(specs(4), ForecastConfig((3_600,), lag_s=0))
    start = 20_000 * DAY_S
    before_noon = {}
    for second in range(start, start + 3 * DAY_S + 12 * 3_600 - 300, 5):
        power = daily(second)
        forecaster.step(second, power, power)
        if second % DAY_S == 12 * 3_600 - 600:
            before_noon[(second - start) // DAY_S] = forecaster.predict(3_600, 0.5)
    assert (before_noon[2].template_mw == 0).all()
    last = forecaster.predict(3_600, 0.9)
    assert (last.predictor == Predictor.CONFORMAL).all()
    np.testing.assert_allclose(last.template_mw, 0.3 * RATED_MW, rtol=0.2)
    assert (last.peak_mw > 0.55 * RATED_MW).all()
    assert (last.peak_mw < 0.75 * RATED_MW).all()
    assert (before_noon[2].peak_mw < 0.45 * RATED_MW).all()
