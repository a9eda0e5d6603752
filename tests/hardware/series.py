"""A card's counter and gauges over time, and what follows from them.

Gauges are step functions: a value holds until the next change is seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.calls import AVERAGE_MW, ENERGY_MJ, INSTANT_MW, number_of

NS_PER_S = 1_000_000_000
_LEAST_CHANGES = 5
_WINDOWS_NS = range(0, 2 * NS_PER_S + 1, NS_PER_S // 20)
"""Candidates for the window of an averaged gauge."""
Ints = NDArray[np.int64]


@dataclass
class Series:
    """Polls in order of time; a field that a card does not answer stays empty."""

    times_ns: list[int] = field(default_factory=list)
    energy_mj: list[int] = field(default_factory=list)
    average_mw: list[int] = field(default_factory=list)
    instant_mw: list[int] = field(default_factory=list)

    def times(self) -> Ints:
        return np.array(self.times_ns, dtype=np.int64)


def record(nvml: Any, handle: Any, until: Callable[[], bool], period_ns: int = 2_000_000) -> Series:
    """Poll the three fields in one call each ``period_ns`` until told to stop."""
    series = Series()
    columns = (series.energy_mj, series.average_mw, series.instant_mw)
    next_ns = time.monotonic_ns()
    while not until():
        values = nvml.nvmlDeviceGetFieldValues(handle, [ENERGY_MJ, AVERAGE_MW, INSTANT_MW])
        series.times_ns.append(time.monotonic_ns())
        for column, value in zip(columns, values, strict=True):
            found = number_of(value)
            if found is not None:
                column.append(found)
        next_ns += period_ns
        time.sleep(max(0, next_ns - time.monotonic_ns()) / NS_PER_S)
    for column in columns:
        if len(column) != len(series.times_ns):
            column.clear()  # a card that answers now and then answers nothing that can be used
    return series


def refresh_ns(times_ns: Sequence[int], values: Sequence[int]) -> int | None:
    """Return the median time between changes; None where there were too few."""
    if len(values) < 2:
        return None
    changes = np.flatnonzero(np.diff(np.array(values))) + 1
    if len(changes) <= _LEAST_CHANGES:
        return None
    return int(np.median(np.diff(np.array(times_ns, dtype=np.int64)[changes])))


def averaging_ns(series: Series) -> tuple[int, float] | None:
    """Return the window whose trailing mean of instant power fits the averaged gauge best.

    With the root mean square of the misfit in mW; None where a gauge is absent
    or did not move.
    """
    times, instant = series.times(), np.array(series.instant_mw, dtype=np.float64)
    average = np.array(series.average_mw, dtype=np.float64)
    if len(instant) < 2 or len(average) < 2 or not np.ptp(average):
        return None
    # Cumulative energy of the step function at each poll, in mW ns.
    cumulative = np.concatenate([[0.0], np.cumsum(instant[:-1] * np.diff(times))])
    settled = times >= times[0] + max(_WINDOWS_NS)
    if not settled.any():
        return None
    best: tuple[int, float] | None = None
    for window in _WINDOWS_NS:
        if window:
            before = np.interp(times[settled] - window, times, cumulative)
            mean = (cumulative[settled] - before) / window
        else:
            mean = instant[settled]
        misfit = float(np.sqrt(np.mean((mean - average[settled]) ** 2)))
        if best is None or misfit < best[1]:
            best = (window, misfit)
    return best


def integral_mj(times_ns: Sequence[int], power_mw: Sequence[int], from_ns: int, to_ns: int) -> int:
    """Return the energy of a step function between two times."""
    times = np.array([*times_ns, max(to_ns, times_ns[-1])], dtype=np.int64).clip(from_ns, to_ns)
    spans = np.diff(times).astype(np.float64)
    return round(float(np.dot(spans, np.array(power_mw, dtype=np.float64))) / NS_PER_S)


@dataclass(frozen=True)
class Energies:
    """The counter and both integrals between two edges of the counter."""

    seconds: float
    counter_mj: int
    instant_mj: int | None
    average_mj: int | None

    @property
    def counter_over_instant_ppm(self) -> int | None:
        """By how much the counter exceeds the integral of instant power."""
        if not self.instant_mj:
            return None
        return round((self.counter_mj / self.instant_mj - 1) * 1_000_000)


def energies(series: Series) -> Energies | None:
    """Compare counter and integrals; None where the counter is absent or hardly moved.

    From its first change to its last, so that its refresh does not matter.
    """
    changes = np.flatnonzero(np.diff(np.array(series.energy_mj))) + 1
    if len(changes) < _LEAST_CHANGES:
        return None
    first, last = int(changes[0]), int(changes[-1])
    from_ns, to_ns = series.times_ns[first], series.times_ns[last]

    def between(power_mw: Sequence[int]) -> int | None:
        return integral_mj(series.times_ns, power_mw, from_ns, to_ns) if power_mw else None

    return Energies(
        (to_ns - from_ns) / NS_PER_S,
        series.energy_mj[last] - series.energy_mj[first],
        between(series.instant_mw),
        between(series.average_mw),
    )


def lag_ns(
    times_ns: Sequence[int], power_mw: Sequence[int], step_ns: int, end_ns: int
) -> int | None:
    """Return how long after a step up a gauge passes half way to its highest value by ``end_ns``.

    None where it was that high before, or never gets there.
    """
    times, power = np.array(times_ns, dtype=np.int64), np.array(power_mw)
    before = power[times <= step_ns]
    after = (times > step_ns) & (times <= end_ns)
    if not len(before) or not after.any():
        return None
    half = (int(before[-1]) + int(power[after].max())) / 2
    passed = np.flatnonzero(after & (power > half))
    if not len(passed) or before[-1] >= half:
        return None
    return int(times[passed[0]] - step_ns)
