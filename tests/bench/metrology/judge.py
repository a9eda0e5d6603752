"""Compares what was shipped with what the load really drew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from bench.metrology.rigs import MS, Rig
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.model import Domain, Flag, GapReason, flag_names
from chipwatt.core.records import DeviceWindow, Gap, Records
from fakes.scenario import Point, energy_uj

_OPEN_NS = 2 * NS_PER_S
"""A line that ends so long before its host does not go on: what it draws is an open gap."""
_QUIET = {"ROOT", "EPOCH_START", "PARTIAL", "INTEGRATED"}


@dataclass(frozen=True, slots=True)
class Judgement:
    """One row of the table."""

    energy_error_uj: int
    """Of all stretches of known energy, beyond what the counter itself can show."""
    energy_error_ppm: float
    """Of all energy, against the load itself."""
    total_error_uj: int
    """The same in µJ."""
    gaps: int
    gaps_hold: bool
    """Whether every gap's bounds contain what was drawn in it."""
    level_error: float | None
    """Of the highest level, against the load's highest."""
    peak_error: float | None
    """Of the 100 ms peak, against the load's."""
    coverage: float
    epochs: int
    flags: str


def judge(
    rig: Rig, load: Sequence[Point], start_mono_ns: int, collected: Iterable[Records], domain: str
) -> Judgement:
    """Judge the first device of the judged domain."""
    records = list(collected)
    windows, gaps = _of_device(records, domain)
    if not windows:
        raise AssertionError("no window arrived")
    gaps += open_gap(records, windows[-1])
    slack_ns = 2 * rig.refresh_ns
    worst_uj = known_uj = true_uj = 0
    for stretch in _stretches(windows):
        begin = stretch[0].start_mono_ns - start_mono_ns
        end = stretch[-1].start_mono_ns + stretch[-1].duration_ns - start_mono_ns
        stored_uj = sum(window.energy_uj for window in stretch)
        error_uj = _error_uj(rig, load, begin, end, stored_uj)
        worst_uj = error_uj if abs(error_uj) > abs(worst_uj) else worst_uj
        known_uj += stored_uj
        true_uj += energy_uj(load, begin, end)
    held = True
    for gap in gaps:
        begin = gap.start_mono_ns - start_mono_ns
        end = begin + gap.duration_ns
        least = energy_uj(load, begin, max(begin, end - slack_ns))
        most = energy_uj(load, max(0, begin - slack_ns), end)
        held &= gap.lower_uj <= most and least <= gap.upper_uj
    first = windows[0].start_mono_ns - start_mono_ns
    last = windows[-1].start_mono_ns + windows[-1].duration_ns - start_mono_ns
    flags = {name for window in windows for name in flag_names(window.flags)} - _QUIET
    length = sum(window.duration_ns for window in windows)
    return Judgement(
        energy_error_uj=worst_uj,
        energy_error_ppm=1e6 * (known_uj - true_uj) / max(1, true_uj),
        total_error_uj=known_uj - true_uj,
        gaps=len(gaps),
        gaps_hold=held,
        level_error=_relative(
            [window.profile.max_mw for window in windows], _highest(load, first, last)
        ),
        peak_error=_relative(
            [window.profile.peak_100ms_mw for window in windows],
            true_peak_mw(load, first, last, 100 * MS),
        ),
        coverage=sum(w.provenance.coverage_ppm / 1e6 * w.duration_ns for w in windows) / length,
        epochs=len({window.epoch for window in windows}),
        flags=" ".join(sorted(flags)).lower(),
    )


def open_gap(records: Sequence[Records], last: DeviceWindow) -> list[Gap]:
    """Return the gap behind the last window of a line, if it ends before its host's seconds do.

    Whoever asks the collector for gaps is told so of it: up to all that the sensor can show.
    """
    start_ns = last.start_mono_ns + last.duration_ns
    ends = (s.start_mono_ns + s.duration_ns for each in records for s in each.host_seconds)
    duration_ns = max(ends, default=0) - start_ns
    line = (last.device, last.domain, last.statistic)
    powers = [
        sensor.max_power_mw
        for each in records
        for sensor in each.sensors
        if (sensor.device, sensor.domain, sensor.statistic) == line
    ]
    if duration_ns <= _OPEN_NS or not powers:
        return []
    upper_uj = -(-powers[-1] * duration_ns // MS)
    start_unix_ns = last.start_unix_ns + last.duration_ns
    reason = GapReason.SENSOR_STALLED
    return [Gap(*line, start_unix_ns, start_ns, duration_ns, 0, upper_uj, reason)]


def true_peak_mw(load: Sequence[Point], begin: int, end: int, span_ns: int) -> float:
    """Return the largest mean over ``span_ns`` that lies in the interval, on a 1 ms grid."""
    moments = np.arange(begin, end + 1, MS)
    span = span_ns // MS
    if len(moments) <= span:
        return 0.0
    energy = _energy_uj(load, moments)
    return float((energy[span:] - energy[:-span]).max() / span_ns * MS)


def _energy_uj(load: Sequence[Point], moments: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the load's energy from its start to each moment: ``energy_uj`` for many at once."""
    times, powers = (np.array(column, dtype=np.float64) for column in zip(*load, strict=True))
    lengths = np.diff(times)
    whole = np.concatenate([[0.0], np.cumsum((powers[1:] + powers[:-1]) / 2 * lengths)])
    at = np.clip(np.searchsorted(times, moments, side="right") - 1, 0, len(times) - 1)
    into = np.maximum(0.0, moments - times[at])
    slope = np.append(np.divide(np.diff(powers), lengths, out=0 * lengths, where=lengths > 0), 0.0)
    energy: NDArray[np.float64] = (whole[at] + powers[at] * into + slope[at] * into**2 / 2) / MS
    return energy


def _of_device(collected: Iterable[Records], domain: str) -> tuple[list[DeviceWindow], list[Gap]]:
    records = list(collected)
    wanted = Domain[domain] if domain else None
    rooted = [w for r in records for w in r.windows if w.flags & Flag.ROOT]
    windows = [w for w in rooted if wanted in (None, w.domain)]
    if not windows:
        return [], []
    statistic = windows[0].statistic
    device = min(str(window.device) for window in windows)
    all_gaps = [g for r in records for g in r.gaps if wanted in (None, g.domain)]
    gaps = [gap for gap in all_gaps if gap.statistic is statistic]
    return (
        sorted((w for w in windows if str(w.device) == device), key=lambda w: w.start_mono_ns),
        [gap for gap in gaps if str(gap.device) == device],
    )


def _stretches(windows: Sequence[DeviceWindow]) -> Iterable[list[DeviceWindow]]:
    """Split into runs of windows that touch and share an epoch."""
    run: list[DeviceWindow] = []
    for window in windows:
        touches = run and run[-1].start_mono_ns + run[-1].duration_ns == window.start_mono_ns
        if run and not (touches and run[-1].epoch == window.epoch):
            yield run
            run = []
        run.append(window)
    if run:
        yield run


def _error_uj(rig: Rig, load: Sequence[Point], begin: int, end: int, stored_uj: int) -> int:
    """Return how far the stored energy is from anything that the sensor could have shown.

    A counter shows the energy as of one of its updates: the newest one before
    the reading, which a reading at the very edge may just miss. A gauge knows
    no energy; its error is that of the integral.
    """
    if rig.gauge:
        return stored_uj - energy_uj(load, begin, end)
    best: int | None = None
    for first, last in product(_updates(begin, rig), _updates(end, rig)):
        error = stored_uj - energy_uj(load, first, last)
        if best is None or abs(error) < abs(best):
            best = error
    assert best is not None
    beyond = max(0, abs(best) - 2 * rig.resolution_uj)
    return beyond if best > 0 else -beyond


def _updates(moment: int, rig: Rig) -> list[int]:
    """Return the times of the updates whose value may be in force at ``moment``, in ns."""
    newest = moment // rig.refresh_ns
    return [
        max(0, k * rig.refresh_ns + jitter_ns(k, rig.jitter_ns))
        for k in range(newest - 4, newest + 2)
    ]


def jitter_ns(k: int, most_ns: int) -> int:
    """Return the jitter of update ``k``: the hash (splitmix64) that ``file_player.c`` uses."""
    if not most_ns or k < 0:
        return 0
    mask = (1 << 64) - 1
    k = (k + 0x9E3779B97F4A7C15) & mask
    k = ((k ^ (k >> 30)) * 0xBF58476D1CE4E5B9) & mask
    k = ((k ^ (k >> 27)) * 0x94D049BB133111EB) & mask
    return (k ^ (k >> 31)) % (2 * most_ns + 1) - most_ns


def _highest(load: Sequence[Point], begin: int, end: int) -> float:
    """Return the load's highest power in the interval: at one of its points, or at an end."""
    inside = [power for moment, power in load if begin <= moment <= end]
    times, powers = zip(*load, strict=True)
    ends = np.interp([begin, end], times, powers)
    return max(float(ends.max()), max(inside, default=0))


def _relative(seen: Sequence[int | None], truth: float) -> float | None:
    known = [value for value in seen if value is not None]
    return max(known) / truth - 1 if known and truth else None
