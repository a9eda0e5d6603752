"""The edges of one sensor in one block: levels, peaks, ramps.

Everything here describes the shape of power and is computed in floating
point; energy itself never passes through this file.

Peaks and ramps are taken from the cumulative energy on a 1 ms grid that
reaches back into the blocks before, so that one across a block's edge is
found, in the block in which it ends. The grid misses the best place of a
span by half a millisecond at most.
"""

from __future__ import annotations

from typing import Final

import numpy as np

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
_SHORTER: Final = 1.08
"""A level over half the span that is higher by more than its own error: power peaks in less time
than can be told apart."""
_TAIL_STEPS: Final = 2 * max(SPANS_MS)


class Shape:
    """Reduces the pieces of one sensor, in order."""

    def __init__(self) -> None:
        self._tail: Floats = np.zeros(1)
        self._tail_end_ns = -1
        self._covered_ns = 0

    def reduce(self, start_ns: int, end_ns: int, piece: Piece, timing: Timing) -> Partial:
        """Reduce the piece that lies in the block from ``start_ns`` to ``end_ns``."""
        if timing.resolution_ns > SPARSE_NS:
            self._tail_end_ns = -1
            partial = sparse_partial(piece, timing.level_ns, self._covered_ns)
        else:
            partial = self._dense(start_ns, end_ns, piece, timing)
        self._covered_ns += partial.covered_ns
        return partial

    def _dense(self, start_ns: int, end_ns: int, piece: Piece, timing: Timing) -> Partial:
        line = _Line(piece)
        bounds = _level_bounds(start_ns, end_ns, piece, timing.level_ns)
        at_bounds = line.energy_uj(bounds)
        partial = self._levels(bounds, at_bounds, piece, timing.level_ns)
        cells = max(1, round((end_ns - start_ns) / CELL_NS))
        edges: Integers = start_ns + np.arange(cells + 1) * (end_ns - start_ns) // cells
        edges = edges.clip(piece.start_ns, piece.end_ns)
        if timing.level_ns > CELL_NS:
            partial.cells_uj = np.diff(np.interp(edges, bounds, at_bounds))
        else:
            partial.cells_uj = np.diff(line.energy_uj(edges))
        self._curve(start_ns, end_ns, line, timing, partial)
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
        self, start_ns: int, end_ns: int, line: _Line, timing: Timing, partial: Partial
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
            span = max(2, round(timing.level_ns / step_ns))
            low_mw, high_mw = _levels_of(curve, last - first, span, step_ms)
            partial.low_mw, partial.high_mw = low_mw, high_mw
            _, short_mw = _levels_of(curve, last - first, max(2, span // 2), step_ms)
            if high_mw is not None and short_mw is not None:
                partial.shorter = short_mw > high_mw * _SHORTER
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


def _level_bounds(start_ns: int, end_ns: int, piece: Piece, level_ns: int) -> Integers:
    """Return the bounds of equal levels of the block, as far as the piece reaches."""
    length_ns = end_ns - start_ns
    count = max(1, length_ns // level_ns)
    bounds: Integers = start_ns + np.arange(count + 1) * length_ns // count
    if piece.start_ns == start_ns and piece.end_ns == end_ns:
        return bounds
    half_ns = level_ns // 2
    inner = bounds[(bounds >= piece.start_ns + half_ns) & (bounds <= piece.end_ns - half_ns)]
    return np.concatenate(([piece.start_ns], inner, [piece.end_ns]))


def _levels_of(
    curve: Floats, fresh: int, span: int, step_ms: float
) -> tuple[int | None, int | None]:
    """Return the least and greatest slope of lines fitted through ``span`` steps.

    Only lines that end in the last ``fresh`` steps count. A fitted line averages
    the errors of all the changes in it, where a difference has those of two.
    """
    reach = curve[-(fresh + span) :]
    if len(reach) <= span:
        return None, None
    weights = (np.arange(span + 1) - span / 2) * (12 / (span * (span + 1) * (span + 2)))
    slopes = np.convolve(reach, weights[::-1], "valid")[-fresh:] / step_ms
    return milliwatts(slopes.min()), milliwatts(slopes.max())


def _extremes(curve: Floats, fresh: int, step_ms: float, timing: Timing) -> dict[str, int]:
    """Return peaks and ramps of the spans that end in the last ``fresh`` steps."""
    found: dict[str, int] = {}
    for span, name in SPANS_MS.items():
        if not timing.resolves(span * NS_PER_MS) or len(curve) <= span:
            continue
        reach = curve[-(fresh + 2 * span) :]
        means = (reach[span:] - reach[:-span]) / (span * step_ms)
        found[f"peak_{name}_mw"] = milliwatts(means[-fresh:].max())
        if span < 100 or len(means) <= span:
            continue
        ramps = (means[span:] - means[:-span])[-fresh:] / (span * step_ms / 1000)
        found[f"rise_{name}_mw_per_s"] = milliwatts(ramps.max())
        found[f"fall_{name}_mw_per_s"] = milliwatts(-ramps.min())
    return found
