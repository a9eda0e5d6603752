"""How coarse a workload's window is: what G2 lets through, as numbers that both sides share.

::

    power    8 classes in parts of 1/32 of the time     C(39, 7) ways   23.9 bits
    energy   0 to 16 steps of 1/15 of the limit         17 ways          4.1 bits
    swing    4 classes                                                   2.0 bits
                                                                        30.0 bits a window

Everything else in a window (ids, time, limit) is the same whatever the workload does.
"""

from __future__ import annotations

from math import comb, log2
from typing import Final

WINDOW_NS: Final = 60_000_000_000
POWER_CLASSES: Final = 8
OCCUPANCY_PARTS: Final = 32
STEPS_AT_LIMIT: Final = 15
"""Steps of energy in a window at the limit; one more for what rounding held back before."""
MAX_STEPS: Final = STEPS_AT_LIMIT + 1
MAX_SWING: Final = 3
LEAST_COVERAGE_PPM: Final = 950_000
"""A window of which less was seen is withheld."""
MAX_WORKLOADS: Final = 64
"""Of one host in one window; what others use is in the bucket that belongs to nobody."""
ROWS: Final = MAX_WORKLOADS + 1
"""Of a minute, with the bucket of everybody else; those that stand for nobody are empty."""
NOBODY: Final = bytes(16)
"""The id of the bucket, and of rows that are there to be filled."""


def step_uj(limit_mw: int, duration_ns: int = WINDOW_NS) -> int:
    """Return one step of energy in µJ; at least 1, so that a step is never nothing."""
    return max(1, limit_mw * duration_ns // (STEPS_AT_LIMIT * 1_000_000))


def bits_a_window() -> float:
    """Return how much a window may say of what its workload did, in bits."""
    ways = comb(OCCUPANCY_PARTS + POWER_CLASSES - 1, POWER_CLASSES - 1)
    return log2(ways * (MAX_STEPS + 1) * (MAX_SWING + 1))
