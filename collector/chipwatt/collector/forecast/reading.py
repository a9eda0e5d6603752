"""What conformal margins of one horizon are read from, as it was at one moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chipwatt.collector.forecast.alpha import Alpha
from chipwatt.collector.forecast.scores import Scores
from chipwatt.core.tables import Array


@dataclass(frozen=True, slots=True)
class Basis:
    """What the conformal predictions of some nodes stand on."""

    base_mw: Array
    template_mw: Array
    rings: Array
    scores: Array
    ready: Array
    """Enough is known of the node and of its cohort."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Answers for every quantile and limit; of the measured part, not held anywhere."""

    basis: Basis
    scale_mw: Array
    n_sigma_mw: Array
    """Stands in above the highest score."""
    scores: Scores
    rings: Array
    """Each node's ring among ``scores``."""
    by_minute: Scores
    """What windows exceeded the last minutes by, of whole cohorts."""
    minute_rings: Array
    """Each node's ring among those."""
    alpha: Alpha

    def peak_mw(self, quantile: float) -> Array:
        """Return base, template and margin in one sum."""
        margin, finite = self.scores.margins(self.rings, self.alpha.at(quantile))
        peak: Array = self.basis.base_mw + self.basis.template_mw + self.scale_mw * margin
        if not finite.all():
            # No score is high enough for this quantile: the highest, or N-sigma above it.
            peak = np.where(finite, peak, np.maximum(peak, self.n_sigma_mw))
        return peak

    def exceeds(self, limit_mw: Array) -> Array:
        """Return the probability that the peak is above a limit."""
        over = limit_mw - self.basis.base_mw - self.basis.template_mw
        return self.alpha.share(self.scores.above(self.rings, over / self.scale_mw))

    @property
    def minute_scores(self) -> Array:
        """Return per node the number of scores behind its margin above minutes."""
        return self.by_minute.held(self.minute_rings)

    def minute_margin_mw(self, quantile: float) -> Array:
        """Return what the whole cohort's peaks exceed its minutes by, with that probability.

        It says nothing of what the node itself did lately.
        """
        margin, _ = self.by_minute.margins(self.minute_rings, 1.0 - quantile)
        return self.scale_mw * margin


def minute_peak_mw(base_mw: Array, margin_mw: Array, cap_mw: Array) -> Array:
    """Return what is predicted above minutes, for who is told and for who scores it."""
    peak: Array = np.clip(base_mw + margin_mw, base_mw, np.maximum(cap_mw, base_mw))
    return peak
