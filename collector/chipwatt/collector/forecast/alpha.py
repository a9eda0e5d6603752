"""Online correction of the level at which a node reads its cohort's scores.

Adaptive conformal inference (Gibbs and Candes 2021) moves alpha by every hit and
miss. Here the step is taken on the logit of alpha, where one gain fits every
quantile: in proportion to alpha itself, as a fixed step at q = 0.99 would move
alpha by half of itself at a single miss. Corrections are learned at the scored
quantiles and interpolated between them, never letting a higher quantile read lower.
"""

from __future__ import annotations

import numpy as np

from chipwatt.collector.forecast.carry import State, carry
from chipwatt.core.tables import Array

SCORED = (0.5, 0.9, 0.95, 0.99)
_GAIN = 0.1
"""A horizon, of which several windows overlap."""
_LIMIT = float(np.log(20.0))


def _logit(share: Array | float) -> Array:
    odds: Array = np.log(share) - np.log1p(-np.asarray(share))
    return odds


_KNOTS = _logit(1.0 - np.array(SCORED))
"""Falling."""


class Alpha:
    """Corrections of one horizon: rows are the scored quantiles, columns nodes."""

    def __init__(self, nodes: int, origins: int) -> None:
        self._gain = _GAIN / origins
        self._shift = np.zeros((len(SCORED), nodes), dtype=np.float32)

    def learn(self, missed: Array, counts: Array) -> None:
        """Take which predictions (quantile, node) were exceeded, where they count."""
        aim = (1.0 - np.array(SCORED))[:, np.newaxis]
        self._shift += np.where(counts, self._gain * (aim - missed), 0.0).astype(np.float32)
        np.clip(self._shift, -_LIMIT, _LIMIT, out=self._shift)

    def frozen(self, which: Array | slice) -> Alpha:
        """Return the corrections of these nodes as they are now."""
        other = Alpha(0, 1)
        other._shift = self._shift[:, which].copy()
        return other

    def at(self, quantile: float) -> Array:
        """Return alpha per node for a quantile between 0 and 1."""
        curve = self._curve()
        wanted = float(_logit(1.0 - quantile))
        place = int(np.clip(np.searchsorted(-_KNOTS, -wanted) - 1, 0, len(SCORED) - 2))
        inside = float(np.clip(wanted, _KNOTS[-1], _KNOTS[0]))
        part = (_KNOTS[place] - inside) / (_KNOTS[place] - _KNOTS[place + 1])
        read = curve[place] + part * (curve[place + 1] - curve[place]) + (wanted - inside)
        alpha: Array = 1.0 / (1.0 + np.exp(-read))
        return alpha

    def share(self, alpha: Array) -> Array:
        """Return per node which 1 - quantile reads its scores at ``alpha``; inverse of ``at``."""
        curve = self._curve()
        read = _logit(np.clip(alpha, 1e-9, 1.0 - 1e-9))
        wanted = _KNOTS[0] + np.maximum(read - curve[0], 0.0)
        wanted = np.where(read < curve[-1], _KNOTS[-1] + (read - curve[-1]), wanted)
        for k in range(len(SCORED) - 1):
            span = np.maximum(curve[k] - curve[k + 1], 1e-12)
            part = np.clip((curve[k] - read) / span, 0.0, 1.0)
            inside = (read <= curve[k]) & (read >= curve[k + 1])
            wanted = np.where(inside, _KNOTS[k] + part * (_KNOTS[k + 1] - _KNOTS[k]), wanted)
        share: Array = 1.0 / (1.0 + np.exp(-wanted))
        return share

    def _curve(self) -> Array:
        curve: Array = np.minimum.accumulate(
            _KNOTS[:, np.newaxis] + self._shift.astype(np.float64), axis=0
        )
        return curve

    def state(self) -> State:
        return {"shift": self._shift}

    def restore(self, state: State, source: Array) -> None:
        carry(state["shift"], self._shift, source)
