"""Servers of training gangs: every server of a gang swings in phase with the others.

A step computes at 0.95 of the rating for 0.7 of its period and exchanges gradients at
0.45, the levels of the reference; a period is 2 to 20 seconds. Every quarter to half
an hour a gang stops for half a minute to two, to write a checkpoint, near idle: these
times are chosen, not measured.
"""

from __future__ import annotations

import numpy as np

from bench.placement.llm_fleet import HOUR_S
from chipwatt.core.tables import Array

GANG = 4
HIGH, LOW, IDLE = 0.95, 0.45, 0.21
_DUTY = 0.7


def gangs(count: int, seed: int, hours: int) -> Array:
    """Return power as a share of the rating: a row a server, gangs together, a column a second."""
    rng = np.random.default_rng(seed)
    rows = [_gang(rng, hours * HOUR_S) for _ in range(-(-count // GANG))]
    return np.repeat(np.stack(rows), GANG, axis=0)[:count]


def _gang(rng: np.random.Generator, seconds: int) -> Array:
    period_s = rng.uniform(2.0, 20.0)
    edges_s = np.arange(seconds + 1) + rng.uniform(0.0, period_s)
    rounds, within_s = np.divmod(edges_s, period_s)
    computed_s = _DUTY * period_s * rounds + np.minimum(within_s, _DUTY * period_s)
    power = LOW + (HIGH - LOW) * np.diff(computed_s)
    start = int(rng.uniform(0, 1_800))
    while start < seconds:
        stop = start + int(rng.uniform(30, 120))
        power[start:stop] = IDLE
        start = stop + int(rng.uniform(900, 1_800))
    gang: Array = power.astype(np.float32)
    return gang
