"""One window of one sensor: partials and leaps in, a ``DeviceWindow`` out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from chipwatt.agent.profiler.block import SPANS_MS
from chipwatt.agent.profiler.partial import Floats, Partial, milliwatts
from chipwatt.agent.profiler.swing import find_swing
from chipwatt.agent.sensing.contract import Quantity, Sensor
from chipwatt.agent.timing import Timing
from chipwatt.core import histogram
from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.model import Flag, Method
from chipwatt.core.records import DeviceWindow, PowerHistogram, Profile, Provenance, Throttle

PARTIAL_PPM: Final = 950_000
"""Less coverage than this is PARTIAL."""
_BEYOND: Final = int(Flag.PEAK_BEYOND_SENSOR)
_MAX_US: Final = (1 << 32) - 1
_MAX_MS: Final = (1 << 32) - 2


@dataclass(frozen=True, slots=True)
class Counts:
    """Cumulative counts of one sensor's polls, and its throttle report, at one moment."""

    expected: int = 0
    got: int = 0
    repeated: int = 0
    dropped: int = 0
    throttle: Throttle = field(default_factory=Throttle)


class Window:
    """Collects one window; ``build`` is a chore of its own."""

    def __init__(self, start_ns: int, start_unix_ns: int, epoch: int, flags: int) -> None:
        self.start_ns = start_ns
        self.start_unix_ns = start_unix_ns
        self.epoch = epoch
        self.flags = flags
        self._energy_uj = 0
        self._covered_ns = 0
        self._lows_mw: list[int] = []
        self._highs_mw: list[int] = []
        self._levels: list[tuple[Any, Any]] = []
        self._extremes: dict[str, int] = {}
        self._series: list[Floats] = []

    def add(self, energy_uj: int, partial: Partial, timing: Timing) -> None:
        """Add one piece."""
        self._energy_uj += energy_uj
        self._covered_ns += partial.covered_ns
        self._levels.append((partial.levels_mw, partial.levels_ms))
        if partial.low_mw is not None and partial.high_mw is not None:
            self._lows_mw.append(partial.low_mw)
            self._highs_mw.append(partial.high_mw)
        for name, value in partial.extremes.items():
            self._extremes[name] = max(value, self._extremes.get(name, 0))
        unresolved = not all(timing.resolves(span * NS_PER_MS) for span in SPANS_MS)
        if unresolved or partial.shorter:
            self.flags |= _BEYOND
        if partial.series_mw is None:
            self._series.clear()
        else:
            self._series.append(partial.series_mw)

    def leap(self, energy_uj: int, flags: int) -> None:
        """Add energy that is known, of an interval in which nothing was seen."""
        self._energy_uj += energy_uj
        self.flags |= flags
        self._series.clear()

    def build(
        self, sensor: Sensor, end_ns: int, cumulative_uj: int, timing: Timing, counts: Counts
    ) -> DeviceWindow:
        """Return the finished window; ``counts`` are those of the window alone."""
        duration_ns = end_ns - self.start_ns
        coverage_ppm = max(0, min(1_000_000, self._covered_ns * 1_000_000 // duration_ns))
        flags = self.flags | sensor.flags
        method = _method(sensor)
        if method is Method.INTEGRATED:
            flags |= Flag.INTEGRATED
        if sensor.root:
            flags |= Flag.ROOT
        if coverage_ppm < PARTIAL_PPM:
            flags |= Flag.PARTIAL
        if timing.swing_top_mhz < 20_000:
            flags |= Flag.SWING_BEYOND_SENSOR
        return DeviceWindow(
            device=sensor.device,
            domain=sensor.domain,
            statistic=sensor.statistic,
            start_unix_ns=self.start_unix_ns,
            start_mono_ns=self.start_ns,
            duration_ns=duration_ns,
            epoch=self.epoch,
            energy_uj=self._energy_uj,
            cumulative_uj=cumulative_uj,
            profile=self._profile(duration_ns, timing),
            throttle=counts.throttle,
            provenance=Provenance(
                interface=sensor.interface,
                method=method,
                expected=counts.expected,
                got=counts.got,
                repeated=counts.repeated,
                dropped=counts.dropped,
                refresh_us=min(timing.refresh_ns // 1000, _MAX_US),
                averaging_us=min(timing.averaging_ns // 1000, _MAX_US),
                coverage_ppm=coverage_ppm,
            ),
            flags=int(flags),
        )

    def _profile(self, duration_ns: int, timing: Timing) -> Profile:
        swing = find_swing(self._series, timing.swing_top_mhz) if timing.swing_top_mhz else None
        return Profile(
            mean_mw=milliwatts(self._energy_uj * NS_PER_MS / duration_ns),
            min_mw=min(self._lows_mw, default=None),
            max_mw=max(self._highs_mw, default=None),
            histogram=self._histogram(),
            swing_frequency_mhz=swing.frequency_mhz if swing else None,
            swing_amplitude_mw=milliwatts(swing.amplitude_mw) if swing else None,
            swing_share_ppm=swing.share_ppm if swing else None,
            **self._extremes,
        )

    def _histogram(self) -> PowerHistogram:
        if not self._levels:
            return PowerHistogram()
        levels, times = (
            np.concatenate([np.asarray(part, dtype=np.int64) for part in column])
            for column in zip(*self._levels, strict=True)
        )
        seen = times > 0
        return histogram.build(levels[seen], times[seen])


def counts_between(before: Counts, after: Counts) -> Counts:
    """Return what happened between two moments; the limit is the later one's."""
    return Counts(
        after.expected - before.expected,
        after.got - before.got,
        after.repeated - before.repeated,
        after.dropped - before.dropped,
        Throttle(
            after.throttle.limit_mw,
            _risen(before.throttle.power_ms, after.throttle.power_ms),
            _risen(before.throttle.thermal_ms, after.throttle.thermal_ms),
            _risen(before.throttle.brake_ms, after.throttle.brake_ms),
            _risen(before.throttle.other_ms, after.throttle.other_ms),
        ),
    )


def _risen(before_ms: int | None, after_ms: int | None) -> int | None:
    """Return the rise of a cumulative time; one that fell has started anew at zero.

    None for a rise of weeks, which no window can have.
    """
    if after_ms is None:
        return None
    if before_ms is None:
        return 0
    risen_ms = after_ms - before_ms if after_ms >= before_ms else after_ms
    return risen_ms if risen_ms <= _MAX_MS else None


def _method(sensor: Sensor) -> Method:
    if sensor.flags & Flag.ESTIMATED:
        return Method.ESTIMATED
    return Method.COUNTER if sensor.quantity is Quantity.ENERGY_UJ else Method.INTEGRATED
