"""Windows of one horizon that are still open, each with what was predicted at its origin.

An origin every sixth of a horizon. All that a window needs is its highest peak so
far, so that a bin costs one maximum a window and node, whatever the horizon.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chipwatt.collector.forecast.carry import State, carry, half
from chipwatt.core.tables import Array

_FREE = -1


@dataclass(frozen=True, slots=True)
class Closed:
    """A window whose end has come; arrays over all nodes."""

    highest_mw: Array
    slow_mw: Array
    """The slow level at the origin."""
    swing_mw: Array
    """By how much the fast level was above it."""
    template_mw: Array
    """NaN without a template."""
    volatility_bin: Array
    minute_share: Array
    """What whole minutes said at the origin, as a share of the scale; NaN: nothing."""
    minute_margins: Array
    """What would have been added to it, a row a scored quantile, a column a cohort."""
    predicted_mw: Array
    """Rows as they were opened; NaN where that predictor had nothing to say."""
    whole: Array
    """Every bin was measured, everything beneath included."""


class Pending:
    """The windows of one horizon. Rows are windows, columns nodes.

    ``margins`` is the shape of ``Closed.minute_margins``.
    """

    def __init__(
        self,
        horizon_s: int,
        lag_s: int,
        origins: int,
        rows: int,
        nodes: int,
        margins: tuple[int, int],
    ) -> None:
        self._length_s = horizon_s + lag_s
        self.stride_s = max(1, horizon_s // origins)
        windows = -(-self._length_s // self.stride_s)
        self._origin = np.full(windows, _FREE, dtype=np.int64)
        self._highest = np.zeros((windows, nodes), dtype=np.float32)
        self._slow = np.zeros((windows, nodes), dtype=np.float32)
        self._swing = np.zeros((windows, nodes), dtype=np.float32)
        self._template = np.full((windows, nodes), np.nan, dtype=np.float32)
        self._bin = np.zeros((windows, nodes), dtype=np.uint8)
        self._minute = np.full((windows, nodes), np.nan, dtype=np.float16)
        self._minute_margins = np.full((windows, *margins), np.nan, dtype=np.float32)
        self._broken = np.ones((windows, nodes), dtype=bool)
        self._predicted = np.full((windows, rows, nodes), np.nan, dtype=np.float32)

    def observe(self, peak_mw: Array, broken: Array | None) -> None:
        """Take one bin into every open window."""
        np.maximum(self._highest, peak_mw, out=self._highest)
        if broken is not None:
            self._broken |= broken

    def break_all(self) -> None:
        """Give every open window up: bins are missing that nobody saw."""
        self._broken[:] = True

    def closed(self, second: int) -> Iterator[Closed]:
        """Yield and free each window that ends with this bin or before."""
        due = (self._origin != _FREE) & (self._origin + self._length_s <= second)
        for row in np.flatnonzero(due).tolist():
            self._origin[row] = _FREE
            yield Closed(
                self._highest[row],
                self._slow[row],
                self._swing[row],
                self._template[row],
                self._bin[row],
                self._minute[row].astype(np.float64),
                self._minute_margins[row],
                self._predicted[row],
                ~self._broken[row],
            )

    def open(
        self,
        second: int,
        slow_mw: Array,
        swing_mw: Array,
        template_mw: Array,
        volatility_bin: Array,
        minute_share: Array,
        minute_margins: Array,
        usable: Array,
    ) -> Array:
        """Open a window after this bin; return its rows of predictions to be filled in."""
        free = np.flatnonzero(self._origin == _FREE)
        # Late bins can bring origins closer together than the stride: the oldest gives way.
        row = int(free[0]) if len(free) else int(np.argmin(self._origin))
        self._origin[row] = second
        self._highest[row] = 0.0
        self._slow[row] = slow_mw
        self._swing[row] = swing_mw
        self._template[row] = template_mw
        self._bin[row] = volatility_bin
        self._minute[row] = half(minute_share)
        self._minute_margins[row] = minute_margins
        self._broken[row] = ~usable
        predicted: Array = self._predicted[row]
        return predicted

    def state(self) -> State:
        return {
            "origin": self._origin,
            "highest": self._highest,
            "slow": self._slow,
            "swing": self._swing,
            "template": self._template,
            "bin": self._bin,
            "minute": self._minute,
            "minute_margins": self._minute_margins,
            "broken": self._broken,
            "predicted": self._predicted,
        }

    def restore(self, state: State, source: Array, cohorts: Array, rescaled: Array) -> None:
        self._origin[:] = state["origin"]
        carry(state["highest"], self._highest, source)
        carry(state["slow"], self._slow, source)
        carry(state["swing"], self._swing, source)
        carry(state["template"], self._template, source)
        carry(state["bin"], self._bin, source)
        carry(state["minute"], self._minute, source)
        self._minute[:] = half(self._minute.astype(np.float64) * rescaled)
        carry(state["minute_margins"], self._minute_margins, cohorts)
        carry(state["broken"], self._broken, source)
        carry(state["predicted"], self._predicted, source)
