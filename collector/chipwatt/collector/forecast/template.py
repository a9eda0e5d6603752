"""What the time of day adds: per quarter of an hour, the usual rise of the peak over the level.

Kept are, for at most fourteen days, the level at the start of each quarter and the
highest peak within it, as half-precision shares of the node's scale: 384 bytes a
node and day, in memory only for days that have gone by.
"""

from __future__ import annotations

import numpy as np

from chipwatt.collector.forecast.carry import State, carry, half
from chipwatt.core.tables import Array

QUARTER_S = 900
_A_DAY = 96
_DAYS = 14
_ROWS = (_DAYS + 1) * _A_DAY
SHADOW_DAYS = 1
"""From here on rises are scored beside plain levels, so that their margins are known in time."""
SERVED_DAYS = 3


class Template:
    """Rises of the horizons that are an hour or longer."""

    def __init__(self, horizons_s: tuple[int, ...], scale_mw: Array) -> None:
        self._scale_mw = scale_mw
        self._nodes = len(scale_mw)
        self.horizons_s = horizons_s
        self._days: list[Array | None] = [None] * (_DAYS + 1)
        self._quarter = -1
        self._level = np.zeros(self._nodes)
        self._highest = np.zeros(self._nodes)
        self._rise = {h: np.full(self._nodes, np.nan) for h in horizons_s}
        self._known = {h: np.zeros(self._nodes, dtype=np.int64) for h in horizons_s}

    def observe(self, second: int, level_mw: Array, peak_mw: Array, whole: Array) -> None:
        """Take one bin; where it is not whole, its quarter is lost for the node."""
        quarter = second // QUARTER_S
        if quarter != self._quarter:
            self._turn(second, level_mw)
        np.maximum(self._highest, np.where(whole, peak_mw, np.nan), out=self._highest)

    def lose(self) -> None:
        """Forget the running quarter: bins of it are missing."""
        self._highest[:] = np.nan

    def _turn(self, second: int, level_mw: Array) -> None:
        quarter = second // QUARTER_S
        if self._quarter >= 0:
            row = self._row(self._quarter, create=True)
            row[0] = half(self._level / self._scale_mw)
            row[1] = half(self._highest / self._scale_mw)
        first = max(self._quarter + 1, quarter - _ROWS) if self._quarter >= 0 else quarter
        for passed in range(first, quarter + 1):
            self._row(passed, create=passed == quarter)[:] = np.nan
        self._quarter = quarter
        self._level[:] = level_mw
        self._highest[:] = 0.0
        if second % QUARTER_S:
            self.lose()  # its first seconds are missing
        for horizon_s in self.horizons_s:
            self._learn(horizon_s)

    def _row(self, quarter: int, *, create: bool) -> Array:
        day, place = divmod(quarter % _ROWS, _A_DAY)
        rows = self._days[day]
        if rows is None:
            shape = (_A_DAY, 2, self._nodes) if create else (1, 2, self._nodes)
            rows = np.full(shape, np.nan, dtype=np.float16)
            if create:
                self._days[day] = rows
        row: Array = rows[place % len(rows)]
        return row

    def _learn(self, horizon_s: int) -> None:
        rises = []
        for day in range(1, _DAYS + 1):
            start = self._quarter - day * _A_DAY
            span = range(start, start + horizon_s // QUARTER_S)
            if self._days[start % _ROWS // _A_DAY] is None:
                continue
            # A quarter that was lost makes the maximum NaN, and with it the day.
            peaks = np.stack([self._row(q, create=False)[1] for q in span]).astype(np.float32)
            rises.append(peaks.max(axis=0) - self._row(start, create=False)[0])
        if not rises:
            return
        ordered = np.sort(np.stack(rises), axis=0)  # NaN last
        known = np.count_nonzero(~np.isnan(ordered), axis=0)
        low, high = np.maximum(known - 1, 0) // 2, known // 2
        columns = np.arange(self._nodes)
        high = np.minimum(high, len(ordered) - 1)
        median = (ordered[low, columns] + ordered[high, columns]) / 2
        median = np.where(known > 0, median, np.nan)
        self._rise[horizon_s] = median.astype(np.float64) * self._scale_mw
        self._known[horizon_s] = known

    def rise_mw(self, horizon_s: int) -> Array:
        """Return the usual rise a node from here on; NaN without a day to go by."""
        return self._rise[horizon_s]

    def days(self, horizon_s: int) -> Array:
        """Return how many days stand behind the rise."""
        return self._known[horizon_s]

    def peak_quarter(self, node: int, horizon_s: int) -> int:
        """Return the start in seconds of the quarter that is usually the highest ahead; or 0."""
        if horizon_s not in self._known or self._known[horizon_s][node] < SERVED_DAYS:
            return 0
        ahead = range(self._quarter, self._quarter + horizon_s // QUARTER_S)
        usual = []
        for quarter in ahead:
            past = [
                float(self._row(quarter - day * _A_DAY, create=False)[1, node])
                for day in range(1, _DAYS + 1)
            ]
            seen = sorted(value for value in past if value == value)  # noqa: PLR0124 - not NaN
            usual.append(seen[len(seen) // 2] if seen else 0.0)
        return ahead[int(np.argmax(usual))] * QUARTER_S

    def state(self) -> State:
        state: State = {
            "quarter": np.array(self._quarter),
            "level": self._level,
            "highest": self._highest,
        }
        for place, rows in enumerate(self._days):
            if rows is not None:
                state[f"day{place}"] = rows
        return state

    def restore(self, state: State, source: Array, rescaled: Array) -> None:
        """Take over what is known; ``rescaled``: what a share of each old scale is now."""
        self._quarter = int(state["quarter"])
        carry(state["level"], self._level, source)
        carry(state["highest"], self._highest, source)
        for place in range(len(self._days)):
            if (old := state.get(f"day{place}")) is not None:
                rows = np.full((_A_DAY, 2, self._nodes), np.nan, dtype=np.float32)
                carry(old.astype(np.float32), rows, source)
                self._days[place] = half(rows * rescaled)
        if self._quarter >= 0:
            for horizon_s in self.horizons_s:
                self._learn(horizon_s)
