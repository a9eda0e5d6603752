"""What a piece of one sensor's line is, and what its reduction gives.

Sensors slower than 500 ms are reduced here, segment by segment: a block of
theirs is one or two segments, and numpy would cost more than the sums.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.columns import MAX_POWER_MW

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
SPARSE_NS: Final = 500 * NS_PER_MS
"""A resolution beyond this resolves no span; see ``Timing.resolves``."""
CELL_NS: Final = 100 * NS_PER_MS
"""Cells in which the power of several sensors is added up."""
CELLS_A_SECOND: Final = NS_PER_S // CELL_NS


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of one sensor's line inside a block, with the edges around it."""

    start_ns: int
    end_ns: int
    times_ns: Sequence[int]
    """The first at or before the start, the last at or after the end."""
    cumulative_uj: Sequence[int]
    holes: Sequence[tuple[int, int]]
    """Times inside that no answer covers."""

    def at_uj(self, moment_ns: int) -> int:
        """Interpolate the cumulative energy between the two edges around a moment, exactly."""
        last = bisect_left(self.times_ns, moment_ns, 1)
        from_ns, to_ns = self.times_ns[last - 1], self.times_ns[last]
        from_uj, to_uj = self.cumulative_uj[last - 1], self.cumulative_uj[last]
        return from_uj + (to_uj - from_uj) * (moment_ns - from_ns) // (to_ns - from_ns)

    def covered_ns(self, until_ns: int) -> int:
        """Return the covered time from the piece's start to ``until_ns``."""
        covered_ns = until_ns - self.start_ns
        for start_ns, end_ns in self.holes:
            covered_ns -= max(0, min(until_ns, end_ns) - start_ns)
        return covered_ns


@dataclass(slots=True)
class Partial:
    """What one piece adds to its window."""

    covered_ns: int
    levels_mw: Sequence[int] | Integers
    levels_ms: Sequence[int] | Integers
    low_mw: int | None
    high_mw: int | None
    extremes: dict[str, int] = field(default_factory=dict)
    """Peaks and ramps by their name in ``Profile``."""
    series_mw: Floats | None = None
    """Means over 10 ms, where the piece is the whole block and fine enough."""
    shorter: bool = False
    """Whether there are peaks shorter than the shortest level that can be told apart."""
    cells_uj: Floats | None = None
    """Energy in each cell of the block, or blocks; None: evenly spread."""


def milliwatts(power: float) -> int:
    """Return a power, or a ramp, within what the column table holds."""
    return max(0, min(MAX_POWER_MW, round(power)))


def sparse_partial(piece: Piece, level_ns: int, covered_before_ns: int) -> Partial:
    """Reduce a piece of few edges; ``covered_before_ns`` keeps milliseconds adding up."""
    levels_mw: list[int] = []
    levels_ms: list[int] = []
    told_apart: list[int] = []
    until_ms = covered_before_ns // NS_PER_MS
    covered_ns = 0
    edges = zip(piece.times_ns, piece.cumulative_uj, strict=True)
    for (from_ns, from_uj), (to_ns, to_uj) in pairwise(edges):
        level_mw = milliwatts((to_uj - from_uj) * NS_PER_MS / (to_ns - from_ns))
        before_ns, covered_ns = covered_ns, piece.covered_ns(min(to_ns, piece.end_ns))
        before_ms, until_ms = until_ms, (covered_before_ns + covered_ns) // NS_PER_MS
        levels_mw.append(level_mw)
        levels_ms.append(until_ms - before_ms)
        seen_ns = min(to_ns, piece.end_ns) - max(from_ns, piece.start_ns)
        if (to_ns - from_ns) * 2 >= level_ns and (covered_ns - before_ns) * 2 >= seen_ns:
            told_apart.append(level_mw)
    return Partial(
        covered_ns,
        levels_mw,
        levels_ms,
        min(told_apart) if told_apart else None,
        max(told_apart) if told_apart else None,
    )
