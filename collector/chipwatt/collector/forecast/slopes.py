"""How much of a node's swing about its slow level the next peak keeps, learned by cohort.

A queue that drains within the horizon keeps little of it, one that feeds itself keeps
more than all. Least squares of (peak - slow level) on (fast level - slow level), both
as shares of the scale, over all nodes of a cohort, older windows fading.
"""

from __future__ import annotations

import numpy as np

from chipwatt.collector.forecast.carry import State, carry
from chipwatt.core.tables import Array

_FADE = 0.5 ** (1 / 360)
"""A closing; 360 of them are sixty horizons."""
_PRIOR_WEIGHT = 200.0
"""Windows that the prior slope of 1, the fast level as it is, counts for."""
_HIGHEST = 1.5
_LEAST_VARIANCE = 1e-8
"""Of shares: a swing of a ten-thousandth of the scale moves no prediction, nor teaches any."""


class Slopes:
    """Slopes of one horizon; a column a cohort."""

    def __init__(self, cohorts: int) -> None:
        self._sums = np.zeros((5, cohorts))
        self.slope = np.ones(cohorts)

    def learn(self, cohort: Array, swing: Array, rise: Array) -> None:
        """Take closed windows: the swing at their origin, the peak's rise over the slow level."""
        swing, rise = swing.astype(np.float64), rise.astype(np.float64)
        facts = (np.ones(len(swing)), swing, rise, swing * swing, swing * rise)
        cohorts = len(self.slope)
        new = [np.bincount(cohort, weights=fact, minlength=cohorts) for fact in facts]
        self._sums = self._sums * _FADE + np.array(new)
        count = np.maximum(self._sums[0], 1.0)
        variance = self._sums[3] - self._sums[1] ** 2 / count
        together = self._sums[4] - self._sums[1] * self._sums[2] / count
        prior = variance / count * _PRIOR_WEIGHT
        fitted = (together + prior) / np.maximum(variance + prior, _LEAST_VARIANCE)
        known = variance > _LEAST_VARIANCE * count
        self.slope = np.where(known, np.clip(fitted, 0.0, _HIGHEST), self.slope)

    def state(self) -> State:
        return {"sums": self._sums, "slope": self.slope}

    def restore(self, state: State, source: Array) -> None:
        """Take slopes over; ``source`` gives each cohort's place in the state, or -1."""
        carry(state["sums"], self._sums, source)
        carry(state["slope"], self.slope, source)
