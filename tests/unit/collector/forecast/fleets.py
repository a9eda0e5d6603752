"""Power nodes and loads that the tests of the forecast share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from chipwatt.collector.forecast.contract import ForecastConfig, NodeSpec
from chipwatt.collector.forecast.forecaster import Forecaster
from chipwatt.core.tables import Array

START_S = 1_800_000_000
RATED_MW = 1e6
SHORT = ForecastConfig((60,), lag_s=0)


def specs(count: int, hw_class: str = "", rated_mw: float = RATED_MW) -> list[NodeSpec]:
    return [NodeSpec(f"n{n}", 6, hw_class, rated_mw, rated_mw) for n in range(count)]


def noise(nodes: int, seconds: int, seed: int = 0, mean_mw: float = 4e5) -> Array:
    """Return independent gamma noise about a mean of each node's own, (second, node)."""
    rng = np.random.default_rng(seed)
    mean = mean_mw * rng.uniform(0.5, 1.0, nodes)
    return mean + rng.gamma(2.0, 0.03 * RATED_MW, (seconds, nodes))


def feed(
    forecaster: Forecaster, rows: Array, start_s: int = START_S, skip: Iterable[int] = ()
) -> None:
    """Take a row a second, but for the seconds to be left out, counted from the first."""
    missing = set(skip)
    for second, row in enumerate(rows):
        if second not in missing:
            forecaster.step(start_s + second, row, row * 1.05)


def fed(nodes: int, seconds: int, seed: int = 0, config: ForecastConfig = SHORT) -> Forecaster:
    forecaster = Forecaster(specs(nodes), config)
    feed(forecaster, noise(nodes, seconds, seed))
    return forecaster


def peaks(
    forecaster: Forecaster, quantiles: Sequence[float] = (0.5, 0.9, 0.99, 0.999)
) -> dict[int, Array]:
    """Return every horizon's predicted peaks, (quantile, node)."""
    return {
        horizon_s: np.stack([forecaster.predict(horizon_s, q).peak_mw for q in quantiles])
        for horizon_s in forecaster.config.horizons_s
    }
