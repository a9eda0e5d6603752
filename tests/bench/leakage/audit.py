"""What epsilon the noise at egress proves to spend, measured from outside.

As DP-Sniper does it: two neighbours as far apart as an event may set them, many draws of
each, and the event that tells them best apart (a threshold of the likelihood ratio,
chosen on half of the draws). Its two probabilities bound epsilon from below; a bound
above the declared one would be a proof that the guarantee is broken.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import beta

from bench.leakage.traces import Array
from chipwatt.collector.egress.noise import EDGES, EPSILON, PARTS, SENSITIVITY, Noise

_CONFIDENCE = 0.95


def epsilon_at_least(noise: Noise, draws: int) -> float:
    """Return a lower bound of epsilon that holds with 95 % confidence."""
    one = [PARTS // 2] * EDGES
    other = [each + SENSITIVITY // EDGES for each in one]
    ratios = [
        _ratio(np.array([noise(counts) for _ in range(draws)]), one, other)
        for counts in (one, other)
    ]
    half = draws // 2
    best = max(
        np.unique(ratios[0][:half]),
        key=lambda cut: _bound(ratios[0][:half] >= cut, ratios[1][:half] >= cut),
    )
    return _bound(ratios[0][half:] >= best, ratios[1][half:] >= best)


def _ratio(drawn: Array, one: list[int], other: list[int]) -> Array:
    scale = SENSITIVITY / EPSILON
    far = np.abs(drawn - np.array(other)) - np.abs(drawn - np.array(one))
    ratio: Array = np.round(far.sum(1) / scale, 6)
    return ratio


def _bound(in_one: Array, in_other: Array) -> float:
    """Return the least epsilon that the two frequencies allow."""
    tail = (1 - _CONFIDENCE) / 2
    hits, misses = int(in_one.sum()), len(in_one) - int(in_one.sum())
    others = int(in_other.sum())
    least = float(beta.ppf(tail, hits, misses + 1)) if hits else 0.0
    missed = len(in_other) - others
    most = float(beta.ppf(1 - tail, others + 1, missed)) if missed else 1.0
    return math.log(least / most) if least > 0 and most > 0 else 0.0
