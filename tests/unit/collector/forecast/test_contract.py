"""What a forecast refuses to be told."""

from __future__ import annotations

import math

import pytest

from chipwatt.collector.forecast.contract import ForecastConfig, NodeSpec
from chipwatt.collector.forecast.forecaster import Forecaster


@pytest.mark.parametrize("scale_mw", [0.0, -1.0, math.nan, math.inf])
def test_a_scale_is_above_zero(scale_mw: float) -> None:
    with pytest.raises(ValueError, match="power node rack-1: scale"):
        NodeSpec("rack-1", 6, "", scale_mw, 1.0)


@pytest.mark.parametrize("rated_mw", [-1.0, math.nan, math.inf])
def test_a_rating_is_not_below_zero(rated_mw: float) -> None:
    with pytest.raises(ValueError, match="rating"):
        NodeSpec("rack-1", 6, "", 1.0, rated_mw)


@pytest.mark.parametrize("kind", [-1, 16])
def test_a_kind_is_one_of_sixteen(kind: int) -> None:
    with pytest.raises(ValueError, match="kind"):
        NodeSpec("rack-1", kind, "", 1.0, 1.0)


@pytest.mark.parametrize("horizons_s", [(), (60, 60), (600, 60), (5,)])
def test_horizons_rise_and_are_long_enough_to_score(horizons_s: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="horizons"):
        ForecastConfig(horizons_s)


@pytest.mark.parametrize("timing", [(-1, 6), (0, 0)])
def test_lag_and_origins(timing: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="lag and origins"):
        ForecastConfig((60,), *timing)


def test_ids_are_told_apart() -> None:
    twice = [NodeSpec("a", 6, "", 1.0, 1.0), NodeSpec("a", 8, "", 1.0, 1.0)]
    with pytest.raises(ValueError, match="same id"):
        Forecaster(twice)
