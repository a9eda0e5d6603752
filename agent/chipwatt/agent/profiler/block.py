"""The edges of one sensor in one block, or in several at once: levels, peaks, ramps.

Everything here describes the shape of power and is computed in floating
point; energy itself never passes through this file.

Peaks and ramps are taken from the cumulative energy on a 1 ms grid that
reaches back into the blocks before, so that one across a block's edge is
found, in the block in which it ends. The grid misses the best place of a
span by half a millisecond at most.

Whole blocks that follow each other may be reduced together, which gives the
same values at a tenth of the cost.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from chipwatt.agent.profiler.levels import fitted_levels
from chipwatt.agent.profiler.partial import (
    CELL_NS,
    SPARSE_NS,
    Floats,
    Integers,
    Partial,
    Piece,
    milliwatts,
    sparse_partial,
)
from chipwatt.agent.timing import Timing
from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.columns import MAX_POWER_MW

SPANS_MS: Final = {10: "10ms", 100: "100ms", 1000: "1s"}
"""Lengths of the means whose peaks are reported; ramps from 100 ms on."""
SERIES_STEPS: Final = 10
_TAIL_STEPS: Final = 2 * max(SPANS_MS)


class Shape:
    """Reduces the pieces of one sensor, in order."""

    def __init__(self) -> None:
        self._tail: Floats = np.zeros(1)
        self._tail_end_ns = -1
        self._covered_ns = 0

    def reduce(
        self, start_ns: int, end_ns: int, piece: Piece, timing: Timing, blocks: int = 1
    ) -> Partial:
        """Reduce the piece that lies in the block from ``start_ns`` to ``end_ns``.

        Several ``blocks`` are equally long, the piece fills them, and it has no holes.
        """
        if timing.resolution_ns > SPARSE_NS:
            self._tail_end_ns = -1
            partial = sparse_partial(piece, timing.level_ns, self._covered_ns)
        else:
            partial = self._dense(start_ns, end_ns, piece, timing, blocks)
        self._covered_ns += partial.covered_ns
        return partial

    def _dense(
        self, start_ns: int, end_ns: int, piece: Piece, timing: Timing, blocks: int
    ) -> Partial:
        line = _Line(piece)
        bounds = _level_bounds(start_ns, end_ns, blocks, piece, timing.level_ns)
        at_bounds = line.energy_uj(bounds)
        partial = self._levels(bounds, at_bounds, piece, timing.level_ns)
        cells = blocks * max(1, round((end_ns - start_ns) / blocks / CELL_NS))
        edges: Integers = start_ns + np.arange(cells + 1) * (end_ns - start_ns) // cells
        edges = edges.clip(piece.start_ns, piece.end_ns)
        if timing.level_ns > CELL_NS:
            partial.cells_uj = np.diff(np.interp(edges, bounds, at_bounds))
        else:
            partial.cells_uj = np.diff(line.energy_uj(edges))
        self._curve(start_ns, end_ns, blocks, line, timing, partial)
        return partial

    def _levels(self, bounds: Integers, at_bounds: Floats, piece: Piece, level_ns: int) -> Partial:
        lengths = np.diff(bounds)
        power = np.rint(np.diff(at_bounds) / lengths * NS_PER_MS)
        levels = power.clip(0, MAX_POWER_MW).astype(np.int64)
        told_apart = lengths * 2 >= level_ns
        covered = bounds - piece.start_ns
        for hole_start_ns, hole_end_ns in piece.holes:
            covered = covered - (bounds - hole_start_ns).clip(0, hole_end_ns - hole_start_ns)
        if piece.holes:
            told_apart &= np.diff(covered) * 2 >= lengths
        extreme = levels[told_apart]
        return Partial(
            covered_ns=int(covered[-1]),
            levels_mw=levels,
            levels_ms=np.diff((covered + self._covered_ns) // NS_PER_MS),
            low_mw=int(extreme.min()) if len(extreme) else None,
            high_mw=int(extreme.max()) if len(extreme) else None,
        )

    def _curve(
        self,
        start_ns: int,
        end_ns: int,
        blocks: int,
        line: _Line,
        timing: Timing,
        partial: Partial,
    ) -> None:
        steps = max(1, round((end_ns - start_ns) / NS_PER_MS))
        step_ns = (end_ns - start_ns) / steps
        first = max(0, int(np.ceil((line.piece.start_ns - start_ns) / step_ns)))
        last = int((line.piece.end_ns - start_ns) / step_ns + 1e-9)
        if last <= first:
            self._tail_end_ns = -1
            return
        steps_ns: Floats = np.arange(first, last + 1, dtype=np.float64) * step_ns
        curve = line.energy_uj(start_ns + steps_ns)
        if first == 0 and last == steps:
            partial.series_mw = np.diff(curve[::SERIES_STEPS]) * (
                NS_PER_MS / (SERIES_STEPS * step_ns)
            )
        even = abs(step_ns - NS_PER_MS) < NS_PER_MS / 100
        if first == 0 and self._tail_end_ns == start_ns and even:
            curve = np.concatenate((self._tail[:-1] + curve[0], curve))
        step_ms = step_ns / NS_PER_MS
        partial.extremes = _extremes(curve, last - first, step_ms, timing)
        if timing.uncertainty_ns and not line.piece.holes:
            partial.low_mw, partial.high_mw, partial.shorter = fitted_levels(
                curve,
                last - first,
                blocks,
                round(timing.level_ns / step_ns),
                step_ms,
                _TAIL_STEPS,
            )
        if last == steps and even:
            self._tail = curve[-1 - _TAIL_STEPS :] - curve[-1]
            self._tail_end_ns = end_ns
        else:
            self._tail_end_ns = -1


class _Line:
    """The cumulative energy of a piece as a function of time, from its first edge."""

    def __init__(self, piece: Piece) -> None:
        self.piece = piece
        self._base_ns = piece.times_ns[0]
        times: Integers = np.array(piece.times_ns, dtype=np.int64)
        energy: Integers = np.array(piece.cumulative_uj, dtype=np.int64)
        self._times: Floats = (times - self._base_ns).astype(np.float64)
        self._energy: Floats = (energy - energy[0]).astype(np.float64)

    def energy_uj(self, moments_ns: Floats | Integers) -> Floats:
        return np.interp(moments_ns - self._base_ns, self._times, self._energy)


def _level_bounds(start_ns: int, end_ns: int, blocks: int, piece: Piece, level_ns: int) -> Integers:
    """Return the bounds of equal levels of each block, as far as the piece reaches."""
    length_ns = (end_ns - start_ns) // blocks
    count = max(1, length_ns // level_ns)
    starts = start_ns + np.arange(blocks) * length_ns
    within = np.arange(count) * length_ns // count
    bounds: Integers = np.append(np.add.outer(starts, within), end_ns)
    if piece.start_ns == start_ns and piece.end_ns == end_ns:
        return bounds
    half_ns = level_ns // 2
    inner = bounds[(bounds >= piece.start_ns + half_ns) & (bounds <= piece.end_ns - half_ns)]
    return np.concatenate(([piece.start_ns], inner, [piece.end_ns]))


def _extremes(curve: Floats, fresh: int, step_ms: float, timing: Timing) -> dict[str, int]:
    """Return peaks and ramps of the spans that end in the last ``fresh`` steps."""
    found: dict[str, int] = {}
    for span, name in SPANS_MS.items():
        if not timing.resolves(span * NS_PER_MS) or len(curve) <= span:
            continue
        reach = curve[-(fresh + 2 * span) :]
        rises = reach[span:] - reach[:-span]
        found[f"peak_{name}_mw"] = milliwatts(rises[-fresh:].max() / (span * step_ms))
        if span < 100 or len(rises) <= span:
            continue
        ramps = (rises[span:] - rises[:-span])[-fresh:]
        per_s = 1000 / (span * step_ms) ** 2
        found[f"rise_{name}_mw_per_s"] = milliwatts(ramps.max() * per_s)
        found[f"fall_{name}_mw_per_s"] = milliwatts(-ramps.min() * per_s)
    return found
