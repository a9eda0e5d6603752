"""How every predictor has held over the last seven days: coverage and pinball loss."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chipwatt.collector.forecast.alpha import SCORED
from chipwatt.collector.forecast.carry import State
from chipwatt.collector.forecast.contract import KINDS, Calibration, Predictor
from chipwatt.core.tables import Array

_DAY_S = 86_400
_DAYS = 8
"""Seven whole days and the one that is running."""
_COUNT, _HELD, _OVER, _UNDER = range(4)
_OF_WHOLE_DAYS = frozenset({Predictor.BY_THE_MINUTE})
"""Told of days that are over: who is answered so must not see when somebody peaked."""
_LEAST_WINDOWS = 1_000
"""A first day may be the minutes before midnight; and fewer say little of a high quantile."""


class Book:
    """Sums by day, horizon, predictor and quantile, and kind of node."""

    def __init__(self, horizons_s: tuple[int, ...]) -> None:
        self._horizons_s = horizons_s
        shape = (_DAYS, len(horizons_s), len(Predictor) + 1, len(SCORED), KINDS, 4)
        self._sums = np.zeros(shape)
        self._day = -1

    def enter(self, horizon: int, predictor: Predictor, scored: Array, kinds: Array) -> None:
        """Enter windows that have closed on the day of the newest ``turn``.

        ``scored`` has rows (peak, prediction) as shares of the scale, NaN where nothing
        was predicted; for a predictor with scores a row for each scored quantile, for the
        others a single one that is judged at all of them.
        """
        peak, predictions = scored[0], scored[1:]
        page = self._sums[self._day % _DAYS, horizon, predictor]
        for row, predicted in enumerate(predictions):
            said = ~np.isnan(predicted)
            off = np.where(said, peak - predicted, 0.0)
            # The allowance is single precision: a peak held at the cap has not broken it.
            facts = (said, said & (off <= 1e-6), np.maximum(off, 0.0), np.maximum(-off, 0.0))
            for fact, values in enumerate(facts):
                by_kind = np.bincount(kinds, weights=values, minlength=KINDS)
                rows = slice(None) if len(predictions) == 1 else row
                page[rows, :, fact] += by_kind

    def turn(self, second: int) -> None:
        """Say what second it is, since 1970: what is older than seven days is let go."""
        day = second // _DAY_S
        if day <= self._day:
            return
        for passed in range(max(self._day + 1, day - _DAYS + 1), day + 1):
            self._sums[passed % _DAYS] = 0.0
        self._day = day

    def read(self, predictor: Predictor, kind: int, horizon_s: int, quantile: float) -> Calibration:
        """Return what holds for the scored quantile that is nearest.

        Of BY_THE_MINUTE it is told for days that are over, by UTC, once they have
        1,000 windows.
        """
        nearest = int(np.argmin(np.abs(np.array(SCORED) - quantile)))
        horizon = self._horizons_s.index(horizon_s)
        by_day = self._sums[:, horizon, predictor, nearest, kind]
        sums = by_day.sum(axis=0)
        if predictor in _OF_WHOLE_DAYS:
            sums = sums - by_day[self._day % _DAYS]
            sums *= sums[_COUNT] >= _LEAST_WINDOWS
        count = sums[_COUNT] or np.nan
        at = SCORED[nearest]
        return Calibration(
            predictor=predictor,
            kind=kind,
            horizon_s=horizon_s,
            quantile=at,
            windows=int(sums[_COUNT]),
            coverage=float(sums[_HELD] / count),
            pinball=float((at * sums[_OVER] + (1.0 - at) * sums[_UNDER]) / count),
        )

    def all(self) -> Iterator[Calibration]:
        """Yield everything that has at least one window."""
        filled = self._sums[..., _COUNT].sum(axis=0) > 0
        for horizon, predictor, quantile, kind in np.argwhere(filled).tolist():
            at = self._horizons_s[horizon], SCORED[quantile]
            found = self.read(Predictor(predictor), kind, *at)
            if found.windows:
                yield found

    def state(self) -> State:
        return {"sums": self._sums, "day": np.array(self._day)}

    def restore(self, state: State) -> None:
        self._sums[:] = state["sums"]
        self._day = int(state["day"])
