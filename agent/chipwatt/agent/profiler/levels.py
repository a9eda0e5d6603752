"""Levels of a polled counter: slopes of lines fitted through all its changes in a span.

A fitted line averages the errors of all the changes in it, where a difference
has those of two. Where spans are long the fits come from running sums, whose
cost does not grow with the span.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from chipwatt.agent.profiler.partial import Floats, milliwatts

_SHORTER: Final = 1.08
"""A level over half the span that is higher by more than its own error: power peaks in less time
than can be told apart."""
_FEW: Final = 48
"""Steps up to which a plain convolution is as cheap, and more exact."""


class Levels(NamedTuple):
    """What the fitted lines say; None where no span fits in."""

    low_mw: int | None
    high_mw: int | None
    shorter: bool
    """Whether there are peaks shorter than the shortest level that can be told apart."""


def fitted_levels(
    curve: Floats, fresh: int, blocks: int, span: int, step_ms: float, tail: int
) -> Levels:
    """Return the levels of lines that end in the last ``fresh`` steps of a curve of energy.

    Those are the steps of ``blocks`` blocks. A line reaches back into what was before its
    block by at most ``tail`` steps, so that the result does not depend on how many blocks are
    looked at together.
    """
    span = max(2, span)
    lines = _Lines(curve[-(fresh + span) :])
    table = _by_block(lines, fresh, blocks, span, tail)
    if table is None:
        return Levels(None, None, shorter=False)
    lows_mw, highs_mw = np.fmin.reduce(table, axis=1), np.fmax.reduce(table, axis=1)
    halves = _by_block(lines, fresh, blocks, max(2, span // 2), tail)
    shorter = False
    if halves is not None:
        peaks_mw = np.rint(np.fmax.reduce(halves, axis=1) / step_ms).clip(0)
        shorter = bool((peaks_mw > np.rint(highs_mw / step_ms).clip(0) * _SHORTER).any())
    return Levels(
        milliwatts(np.fmin.reduce(lows_mw) / step_ms),
        milliwatts(np.fmax.reduce(highs_mw) / step_ms),
        shorter,
    )


def _by_block(lines: _Lines, fresh: int, blocks: int, span: int, tail: int) -> Floats | None:
    """Return a row a block of slopes a step by where they end; NaN: the line reaches too far back.

    None where there is none at all.
    """
    per_block = fresh // blocks
    skipped = max(0, span - tail - 1)
    if len(lines.points) <= span or skipped >= per_block:
        return None
    slopes = lines.slopes(span)[-fresh:]
    missing = fresh - len(slopes)
    if missing:
        slopes = np.concatenate((np.full(missing, np.nan), slopes))
    return slopes.reshape(blocks, per_block)[:, skipped:]


class _Lines:
    """Straight lines fitted through neighbouring points of a curve."""

    def __init__(self, points: Floats) -> None:
        self.points = points
        self._at: Floats | None = None

    def slopes(self, span: int) -> Floats:
        """Return the slope a step of the line through each ``span + 1`` points."""
        scale = 12 / (span * (span + 1) * (span + 2))
        if span <= _FEW:
            weights = (np.arange(span + 1) - span / 2) * scale
            return np.convolve(self.points, weights[::-1], "valid")
        at = self._sum_up() if self._at is None else self._at
        count = len(self.points) - span
        weighted = self._moments[span + 1 :] - self._moments[:count]
        weighted -= (at[:count] + span / 2) * (self._sums[span + 1 :] - self._sums[:count])
        weighted *= scale
        weighted += self._trend
        return weighted

    def _sum_up(self) -> Floats:
        """Prepare running sums, of what is left beside the trend: small numbers keep them exact."""
        points = self.points
        self._at = at = np.arange(len(points), dtype=np.float64)
        self._trend = (points[-1] - points[0]) / (len(points) - 1)
        rest = points - points[0] - self._trend * at
        self._sums, self._moments = np.zeros((2, len(points) + 1))
        np.cumsum(rest, out=self._sums[1:])
        np.cumsum(rest * at, out=self._moments[1:])
        return at
