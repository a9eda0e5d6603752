"""How long to wait before the next try: exponential ceilings, full jitter."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator


def delays_s(
    base_s: float, cap_s: float, uniform: Callable[[float, float], float] = random.uniform
) -> Iterator[float]:
    """Yield seconds to wait, without end: the n-th is uniform in [0, min(cap, base · 2^n)].

    The whole of each delay is random, so that many hosts that lost one
    collector together come back spread out, not in waves. Raises ValueError
    unless 0 < base_s <= cap_s.
    """
    if not 0 < base_s <= cap_s:
        raise ValueError(f"back-off from {base_s} s to {cap_s} s is no range")
    return _delays_s(base_s, cap_s, uniform)


def _delays_s(
    base_s: float, cap_s: float, uniform: Callable[[float, float], float]
) -> Iterator[float]:
    ceiling_s = base_s
    while True:
        yield uniform(0.0, ceiling_s)
        ceiling_s = min(cap_s, ceiling_s * 2)
