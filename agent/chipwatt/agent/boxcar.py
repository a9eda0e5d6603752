"""Measures over what trailing window firmware averages a power gauge, from readings alone.

A gauge that averages over W shows, at its time t, the rise of energy from t - W
to t, over W. Where the energy of the same domain is known at the same polls,
from its counter or from an instantaneous gauge, every W can be tried: the right
one explains the gauge, the others do not. Four traps:

- At constant power every W fits. The load has to move, and an answer is given only
  where windows 10 % shorter and longer fit clearly worse.
- Gauge and counter disagree by some percent on real chips, so a factor near 1 and
  an offset are free. What remains is the shape: a pure ramp tells nothing.
- A gauge may be refreshed somewhat before or after its reference, so a lag is free.
- The update of a polled counter is seen late by up to one poll. Firmware that keeps
  time updates like clockwork; its times are then taken from a line through them.

Windows shorter than two refreshes cannot be told apart, nor can a wave whose period
the window smooths away: then nothing was seen.

The search yields between its pieces, none of which takes longer than a fraction
of a millisecond, so that whoever polls sensors can do it between two polls.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chipwatt.core.clock import NS_PER_S

Series = Sequence[tuple[int, int]]
"""Time (monotonic ns) and value of each poll, in order."""
_Floats = NDArray[np.float64]

_LEAST_POINTS = 12
_LEAST_CHANGES = 5
_LONGEST_NS = 3 * NS_PER_S
_RATIO = 1.12
"""Between two candidates of the first search."""
_GAIN = 0.05
"""By how much gauge and reference may disagree."""
_EXPLAINED = 0.02
"""Largest share of the gauge's variance that the best window may leave unexplained."""
_WORSE = 2.0
"""How many times the least misfit leaves a window possible."""
_WORSE_FIRST = 12.0
"""The same in the first search, which may miss the least by half a step."""
_FLOOR = 0.0025
"""A misfit below this share of the gauge's span, root mean square, is as good as none."""
_CLEAR = 0.1
"""An answer is given where the possible windows lie this close to the best."""
_CLEAR_OF_GAUGE = 0.06
"""The same beside an instantaneous gauge, which sees a part of each refresh only."""
_LEAST_SHARE = 0.25
"""A gauge that shows less of the reference's swing than this has smoothed it away."""
_MOST_POINTS = 64
_APART = 1.8
"""Where the first search leaves windows further apart than this, the load repeats itself."""
_LEAST_SPAN_MW = 1000
_LEAST_SPAN = 50
"""A gauge has to move by the larger of one W and this part of its mean."""


@dataclass(frozen=True, slots=True)
class Window:
    """What was found."""

    averaging_ns: int
    """0: none that is longer than ``uncertainty_ns``."""
    uncertainty_ns: int


Search = Generator[None, None, Window | None]
"""Work in pieces; its value is what was found."""


def fit(gauge_mw: Series, reference: Series, *, counter: bool) -> Search:
    """Find the window of a gauge beside a reference of the same domain; None not seen.

    Both are of the same polls. The reference is an energy counter of µJ, or an
    instantaneous gauge of mW.
    """
    if len(gauge_mw) < _LEAST_POINTS or len(gauge_mw) != len(reference):
        return None
    shown = np.array(gauge_mw, dtype=np.float64)
    if np.ptp(shown[:, 1]) < max(_LEAST_SPAN_MW, shown[:, 1].mean() / _LEAST_SPAN):
        return None
    yield
    other = np.array(reference, dtype=np.float64)
    shown[:, 0] -= other[0, 0]
    polls_ns = other[:, 0] - other[0, 0]
    ticks = _ticks(shown)
    if ticks is None:
        return None
    yield
    finest_ns = max(float(np.median(np.diff(polls_ns))), float(np.median(np.diff(ticks[0]))))
    seen = np.flatnonzero(np.diff(other[:, 1])) + 1
    if len(seen) < (_LEAST_POINTS if counter else 1):
        return None
    if counter or 4 * len(seen) > len(ticks[0]):  # a gauge that seldom moves hides its refresh
        finest_ns = max(finest_ns, float(np.percentile(np.diff(polls_ns[seen]), 25)))
    clear = _CLEAR if counter else _CLEAR_OF_GAUGE
    if counter:
        known_ns = _clockwork(polls_ns[seen], polls_ns)
        energy_pj = (other[seen, 1] - other[0, 1]) * 1e6
    else:
        # A value is shown until the next, but stands for the refresh that it ends.
        known_ns = polls_ns - float(np.median(np.diff(ticks[0]))) / 2
        pieces = np.diff(polls_ns) * (other[1:, 1] + other[:-1, 1]) / 2
        energy_pj = np.concatenate([[0.0], np.cumsum(pieces)])
    found = yield from _Trial(known_ns, energy_pj, *ticks).find(finest_ns, clear)
    return found


def _ticks(shown: _Floats) -> tuple[_Floats, _Floats] | None:
    """Return times and values of a gauge's refreshes, also of those that left it as it was."""
    seen = np.flatnonzero(np.diff(shown[:, 1])) + 1
    if len(seen) < _LEAST_CHANGES:
        return None
    changed_ns = _clockwork(shown[seen, 0], shown[:, 0])
    apart_ns = np.diff(changed_ns)
    step_ns = float(np.percentile(apart_ns, 25))
    count = np.maximum(1, np.rint(apart_ns / step_ns)).astype(np.int64)
    nth = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    inner = np.repeat(changed_ns[:-1], count) + nth * np.repeat(apart_ns / count, count)
    before = np.arange(changed_ns[0] - step_ns, shown[0, 0], -step_ns)[::-1]
    after = np.arange(changed_ns[-1], shown[-1, 0], step_ns)
    times = np.concatenate([before, inner, after])
    shown_by = np.searchsorted(changed_ns, times, side="right") - 1
    values = np.concatenate([shown[:1, 1], shown[seen, 1]])[shown_by + 1]
    return times, values


def _clockwork(seen_ns: _Floats, polls_ns: _Floats) -> _Floats:
    """Return when firmware was refreshed that was seen to have been at ``seen_ns``."""
    apart_ns = np.diff(seen_ns)
    count = np.concatenate([[0.0], np.cumsum(np.rint(apart_ns / np.percentile(apart_ns, 25)))])
    from_mean = count - count.mean()
    slope = float(from_mean @ seen_ns) / max(1.0, float(from_mean @ from_mean))
    line: _Floats = seen_ns.mean() + slope * from_mean
    late_ns = float(np.abs(seen_ns - line).max())
    return line if late_ns <= np.median(np.diff(polls_ns)) else seen_ns


class _Trial:
    """Tries windows on the points that all of them can be tried on."""

    def __init__(
        self, known_ns: _Floats, energy_pj: _Floats, at_ns: _Floats, power_mw: _Floats
    ) -> None:
        self._known_ns = known_ns
        self._energy = energy_pj
        self._at_ns = at_ns
        self._power = power_mw

    def find(self, finest_ns: float, clear: float) -> Search:
        longest_ns = min(_LONGEST_NS, 0.45 * (self._at_ns[-1] - self._at_ns[0]))
        count = int(np.log(max(1.0, longest_ns / finest_ns)) / np.log(_RATIO))
        if count < 4 or not self._keep(longest_ns + finest_ns, finest_ns):
            return None
        windows = finest_ns * np.power(_RATIO, np.arange(count + 1, dtype=np.float64))
        lags = finest_ns * np.array([-0.5, 0.0, 0.5, 1.0])
        possible = yield from self._possible(windows, lags, _WORSE_FIRST)
        if possible is None or possible[2] >= windows[-2]:
            return None
        if possible[0] < 2 * finest_ns:
            return Window(0, int(3 * finest_ns)) if possible[2] <= 2 * finest_ns else None
        found = yield from self._refine(possible[0], possible[2], finest_ns, clear)
        return found

    def _refine(self, least: float, most: float, finest_ns: float, clear: float) -> Search:
        if most > _APART * least:
            return None
        windows = np.linspace(least / _RATIO, most * _RATIO, 41)
        lags = finest_ns * np.linspace(-0.5, 1.0, 7)
        possible = yield from self._possible(windows, lags, _WORSE)
        if possible is None:
            return None
        least, best, most = possible
        # What happens within a refresh is not known: it may shift either end of the window.
        uncertainty_ns = max(best - least, most - best) + finest_ns / 2
        if uncertainty_ns > clear * best:
            return None
        return Window(int(best), int(uncertainty_ns))

    def _keep(self, before_ns: float, finest_ns: float) -> bool:
        """Keep the points that have so much before them; False where they do not do."""
        kept = np.flatnonzero(self._at_ns - self._known_ns[0] > before_ns)
        kept = kept[:: len(kept) // _MOST_POINTS + 1]
        if len(kept) < _LEAST_POINTS:
            return False
        self._at_ns, self._power = self._at_ns[kept], self._power[kept]
        swing = float(np.ptp(self._mean(np.array([finest_ns]), 0.0)))
        return float(np.ptp(self._power)) > max(_LEAST_SHARE * swing, _LEAST_SPAN_MW / 2)

    def _possible(
        self, windows: _Floats, lags: _Floats, worse: float
    ) -> Generator[None, None, tuple[float, float, float] | None]:
        """Return the least, the best and the greatest window that may be; None where none may."""
        misfit = np.full(len(windows), np.inf)
        for lag in lags:
            misfit = np.minimum(misfit, self._misfit(windows, lag))
            yield
        variance = float(np.mean((self._power - self._power.mean()) ** 2))
        least = float(misfit.min())
        if least > _EXPLAINED * variance:
            return None
        floor = (_FLOOR * float(np.ptp(self._power))) ** 2
        among = windows[misfit <= worse * least + floor]
        return float(among[0]), float(windows[misfit.argmin()]), float(among[-1])

    def _misfit(self, windows: _Floats, lag_ns: float) -> _Floats:
        """Return the mean square by which the gauge differs from each window's mean power."""
        mean = self._mean(windows, lag_ns)
        mean -= mean.mean(axis=1, keepdims=True)
        power = self._power - self._power.mean()
        square, product = (mean * mean).mean(axis=1), (mean * power).mean(axis=1)
        gain = np.clip(product / np.maximum(square, 1e-9), 1 - _GAIN, 1 + _GAIN)
        rest: _Floats = (power * power).mean() - 2 * gain * product + gain * gain * square
        return np.maximum(rest, 0.0)

    def _mean(self, windows: _Floats, lag_ns: float) -> _Floats:
        """Return the mean power of every window before every point, in mW."""
        ends = self._at_ns - lag_ns
        until = np.interp(ends, self._known_ns, self._energy)
        before = np.interp(ends - windows[:, None], self._known_ns, self._energy)
        mean: _Floats = (until - before) / windows[:, None]
        return mean
