"""What the forecast is told and what it answers: nodes, settings, predictions, calibration."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from math import inf

from chipwatt.core.tables import Array

MODEL_VERSION = 1
"""Grows with every change of the method that could change a number."""

KINDS = 16
"""Kinds of nodes that are told apart, from 0."""

LEAST_HOSTS = 8
"""What is finer than a minute's window leaves only as a sum over so many hosts."""


class Predictor(IntEnum):
    """How a peak was predicted; numbers equal those of ``chipwatt.v1.Predictor``."""

    NAMEPLATE = 1
    RECENT_MAX = 2
    """Highest peak of the last ten minutes."""
    NAMEPLATE_90 = 3
    RC_LIKE = 4
    """Sum of the 99th percentiles of the hosts beneath."""
    N_SIGMA = 5
    """Mean and five standard deviations of the last ten minutes."""
    CONFORMAL = 6
    """Aligned cohort conformal."""
    BY_THE_MINUTE = 7
    """The same above whole minutes alone, for who may see nobody's seconds."""

    @property
    def has_scores(self) -> bool:
        """Whether a margin of scores is part of it."""
        return self in (Predictor.CONFORMAL, Predictor.BY_THE_MINUTE)


class Weakness(IntFlag):
    """What weakens a prediction, by node."""

    STALE = 1
    """Not everything beneath was heard from: its nameplate stands in."""
    COLD_START = 2
    """Too few scores, or too little seen of the node."""


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A power node. ``kind`` and ``hw_class`` make the cohort that shares scores."""

    id: str
    kind: int
    hw_class: str
    scale_mw: float
    """Budget, or rating: scores are shares of it."""
    rated_mw: float
    """Nameplate; 0 where nobody said, in which case the scale stands in."""
    hosts: float = 1.0
    """Hosts beneath; one that is beneath several nodes of a kind is shared among them."""

    def __post_init__(self) -> None:
        if not 0 < self.scale_mw < inf or not 0 <= self.rated_mw < inf:
            raise ValueError(
                f"power node {self.id}: scale {self.scale_mw} mW must be above 0, "
                f"rating {self.rated_mw} mW not below"
            )
        if not 0 <= self.kind < KINDS:
            raise ValueError(f"power node {self.id}: kind {self.kind} is not below {KINDS}")


@dataclass(frozen=True, slots=True)
class ForecastConfig:
    """Times of the method; the rest of its numbers stand where they are used."""

    horizons_s: tuple[int, ...] = (60, 600, 3_600, 10_800)
    lag_s: int = 15
    """Age of a bin when it is complete: a horizon ends so long after the bin plus itself."""
    origins: int = 6
    """Predictions that are scored within one horizon."""

    def __post_init__(self) -> None:
        rising = list(self.horizons_s) == sorted(set(self.horizons_s))
        if not rising or not self.horizons_s or self.horizons_s[0] < self.origins:
            raise ValueError(f"horizons {self.horizons_s} s do not rise, or are too short to score")
        if self.lag_s < 0 or self.origins < 1:
            raise ValueError("lag and origins of a forecast cannot be negative")


@dataclass(frozen=True, slots=True)
class Prediction:
    """One horizon and quantile; every field an array over the nodes asked for.

    ``base + template + margin + assumed`` is the peak before it was held between
    the power now and the highest that the node can draw.
    """

    peak_mw: Array
    base_mw: Array
    template_mw: Array
    """Rise that the time of day has brought before; 0 without a template."""
    margin_mw: Array
    assumed_mw: Array
    """Nameplates of what was not heard from."""
    predictor: Array
    """A ``Predictor`` a node."""
    weakness: Array
    """``Weakness`` bits a node."""
    scores: Array
    """Scores behind the margin."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a predictor has held over the last seven days."""

    predictor: Predictor
    kind: int
    horizon_s: int
    quantile: float
    """The scored one."""
    windows: int
    """Closed windows times nodes."""
    coverage: float
    """Share of peaks at or below the prediction; NaN without a window."""
    pinball: float
    """Mean pinball loss at the quantile, as a share of the scale; NaN without a window."""
