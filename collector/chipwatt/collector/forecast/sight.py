"""What is known of one horizon at one moment: every quantile and every limit, answered alike later.

A forecast goes on; who holds a sight of it gets the answers of then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chipwatt.collector.forecast.contract import Prediction, Predictor, Weakness
from chipwatt.collector.forecast.reading import Reading, minute_peak_mw
from chipwatt.collector.forecast.scores import MIN_SCORES
from chipwatt.core.tables import Array

CLASSIC_RISK = 0.01
"""What RC-like and N-sigma claim to be exceeded by."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is let in of nodes of which little may be known; mW a node, stand-ins included."""

    base_mw: Array
    """No peak is predicted below it."""
    cold_mw: Array
    """The answer where the forecast is cold."""
    cold: Array
    """And which ``Predictor`` a node that is."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Arrays over the nodes asked for; mW."""

    reading: Reading
    predictor: Array
    """Which predictor answers for each node."""
    classic_mw: Array
    """What the better classic rule says."""
    mean_mw: Array
    assumed_mw: Array
    nameplate_mw: Array
    cap_mw: Array
    """The most that a node can draw."""
    whole: Array
    settled: Array
    """The node was seen for long enough."""

    def predict(self, quantile: float) -> Prediction:
        """Return the peak that each node stays below with a probability.

        Raises ValueError for a quantile outside 0 to 1.
        """
        if not 0.0 < quantile < 1.0:
            raise ValueError(f"a quantile lies between 0 and 1, not at {quantile}")
        basis, now = self.reading.basis, self.mean_mw
        raw = self.reading.peak_mw(quantile)
        peak = np.select(
            [self.predictor == Predictor.CONFORMAL, self.predictor == Predictor.NAMEPLATE],
            [raw + self.assumed_mw, self.nameplate_mw],
            self.classic_mw,
        )
        weakness = np.where(self.whole, 0, int(Weakness.STALE))
        weakness |= np.where(basis.ready, 0, int(Weakness.COLD_START))
        return Prediction(
            peak_mw=np.clip(peak, now, np.maximum(self.cap_mw, now)),
            base_mw=basis.base_mw,
            template_mw=basis.template_mw,
            margin_mw=raw - basis.base_mw - basis.template_mw,
            assumed_mw=self.assumed_mw,
            predictor=self.predictor,
            weakness=weakness,
            scores=basis.scores,
        )

    def predict_on(self, seen: Seen, quantile: float) -> Prediction:
        """Return peaks above minutes, with the margins of the nodes' whole cohorts.

        What a node itself did goes in as ``seen`` and in no other way.
        """
        reading, base_mw = self.reading, seen.base_mw
        scores = reading.minute_scores
        ready = (scores >= MIN_SCORES) & self.settled
        margin = np.where(ready, reading.minute_margin_mw(quantile), seen.cold_mw - base_mw)
        weakness = np.where(self.whole, 0, int(Weakness.STALE))
        weakness |= np.where(ready, 0, int(Weakness.COLD_START))
        return Prediction(
            peak_mw=minute_peak_mw(base_mw, margin, self.cap_mw),
            base_mw=base_mw,
            template_mw=np.zeros(len(base_mw)),
            margin_mw=margin,
            assumed_mw=self.assumed_mw,
            predictor=np.where(ready, int(Predictor.BY_THE_MINUTE), seen.cold),
            weakness=weakness,
            scores=scores,
        )

    def exceed_probability(self, limit_mw: Array) -> Array:
        """Return per node the probability that its peak passes a limit.

        The inverse of ``predict``, to the resolution of the scores; where a rule without
        probabilities answers, 1 if its peak is above the limit, else what it claims.
        """
        limit = np.asarray(limit_mw, dtype=np.float64)
        risk = self.reading.exceeds(limit - self.assumed_mw)
        simple = np.where(self.classic_mw > limit, 1.0, CLASSIC_RISK)
        risk = np.where(self.predictor == Predictor.CONFORMAL, risk, simple)
        unknown = self.predictor == Predictor.NAMEPLATE
        risk = np.where(unknown, self.nameplate_mw > limit, risk)
        risk = np.where(limit >= self.cap_mw, 0.0, risk)
        probability: Array = np.where(limit < self.mean_mw, 1.0, risk)
        return probability
