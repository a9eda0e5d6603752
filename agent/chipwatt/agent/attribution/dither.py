"""Whole parts of a time, rounded so that no level of power is a threshold that tells more.

Rounding to the nearest part tells a change of far less than a part wherever a workload
happens to sit at the edge between two. Here the edge lies elsewhere in each window, where
only the host knows: a change of one part in ten is seen one time in ten at most, at every
level, and the mean over many windows is the truth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

_BITS: Final = 64


def offset_of(secret: bytes, start_unix_ns: int) -> int:
    """Return where the edges lie in the window of that start: 0 to 2^64 - 1, by a keyed hash."""
    given = start_unix_ns.to_bytes(8, "little", signed=True)
    return int.from_bytes(hashlib.blake2b(given, digest_size=8, key=secret).digest(), "little")


def dithered(weights: Sequence[int], parts: int, offset: int) -> tuple[int, ...]:
    """Split ``parts`` by weights into whole numbers that add up, each next to its exact share.

    The sum up to any place is the exact one plus ``offset`` 2^-64ths, rounded down.
    Raises ValueError for a negative weight, for none above 0 and for an offset out of range.
    """
    total = sum(weights)
    if min(weights) < 0 or not total:
        raise ValueError(f"weights {tuple(weights)}: none may be negative, one must be above 0")
    if not 0 <= offset < 1 << _BITS:
        raise ValueError(f"offset {offset} is not of {_BITS} bits")
    sums = accumulate(weights, initial=0)
    edges = [((parts * each << _BITS) // total + offset) >> _BITS for each in sums]
    return tuple(b - a for a, b in pairwise(edges))
