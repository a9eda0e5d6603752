"""Many windows of one sensor as one: what `up` and `profile` show."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from chipwatt.core import histogram
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import Domain, Flag, Statistic, flag_names
from chipwatt.core.records import DeviceWindow, PowerHistogram, Profile, Provenance

RECENT = 600
"""Newest windows whose means are kept for drawing."""
_GREATEST = (
    "max_mw", "peak_10ms_mw", "peak_100ms_mw", "peak_1s_mw",
    "rise_100ms_mw_per_s", "fall_100ms_mw_per_s", "rise_1s_mw_per_s", "fall_1s_mw_per_s",
)  # fmt: skip
_THROTTLED = ("power_ms", "thermal_ms", "brake_ms", "other_ms")
_COUNTED = ("expected", "got", "repeated", "dropped")
Line = tuple[DeviceId, Domain, Statistic]
QUANTILES = (0.5, 0.9, 0.99)


class Tally:
    """Sums, extremes and the merged histogram of the windows added so far.

    A value that no window knows is None, never zero.
    """

    def __init__(self, device: DeviceId, domain: Domain, statistic: Statistic) -> None:
        self.device = device
        self.domain = domain
        self.statistic = statistic
        self.windows = 0
        self.start_unix_ns = 0
        self.end_unix_ns = 0
        self.time_ns = 0
        self.energy_uj = 0
        self.min_mw: int | None = None
        self.greatest: dict[str, int | None] = dict.fromkeys(_GREATEST)
        self.histogram = PowerHistogram()
        self.throttled_ms: dict[str, int | None] = dict.fromkeys(_THROTTLED)
        self.counted = dict.fromkeys(_COUNTED, 0)
        self.epochs: set[int] = set()
        self.flags = 0
        self.latest: DeviceWindow | None = None
        self.swing: Profile | None = None
        self.recent: deque[DeviceWindow] = deque(maxlen=RECENT)
        self._mean_time_ns = 0
        self._mean_sum = 0
        self._coverage_sum = 0

    def add(self, window: DeviceWindow) -> None:
        """Take one window in; the order matters only for what is newest."""
        profile, end_unix_ns = window.profile, window.start_unix_ns + window.duration_ns
        first = not self.windows
        self.windows += 1
        self.start_unix_ns = (
            window.start_unix_ns if first else min(self.start_unix_ns, window.start_unix_ns)
        )
        self.end_unix_ns = max(self.end_unix_ns, end_unix_ns)
        self.time_ns += window.duration_ns
        self.energy_uj += window.energy_uj
        self.min_mw = _least(self.min_mw, profile.min_mw)
        for name in _GREATEST:
            self.greatest[name] = _most(self.greatest[name], getattr(profile, name))
        self.histogram = histogram.merge(self.histogram, profile.histogram)
        for name in _THROTTLED:
            self.throttled_ms[name] = _sum(self.throttled_ms[name], getattr(window.throttle, name))
        for name in _COUNTED:
            self.counted[name] += getattr(window.provenance, name)
        self.epochs.add(window.epoch)
        self.flags |= window.flags
        if profile.mean_mw is not None:
            self._mean_time_ns += window.duration_ns
            self._mean_sum += profile.mean_mw * window.duration_ns
        self._coverage_sum += window.provenance.coverage_ppm * window.duration_ns
        strongest = self.swing.swing_amplitude_mw if self.swing else None
        if _most(strongest, profile.swing_amplitude_mw) != strongest:
            self.swing = profile
        if self.latest is None or window.start_unix_ns >= self.latest.start_unix_ns:
            self.latest = window
        self.recent.append(window)

    @property
    def mean_mw(self) -> int | None:
        """Mean power over the time in which it is known."""
        return round(self._mean_sum / self._mean_time_ns) if self._mean_time_ns else None

    @property
    def coverage_ppm(self) -> int:
        """Share of all windows' time that was seen."""
        return round(self._coverage_sum / self.time_ns) if self.time_ns else 0

    @property
    def estimated(self) -> bool:
        """Whether any of it comes from a model instead of a sensor."""
        return bool(self.flags & Flag.ESTIMATED)

    @property
    def root(self) -> bool:
        """Whether this is one of the sensors that are added up."""
        return bool(self.flags & Flag.ROOT)

    @property
    def name(self) -> str:
        """Domain and, where it is a gauge's, the statistic: ``board``, ``board average``."""
        return sensor_name(self.domain, self.statistic)

    @property
    def sort_key(self) -> tuple[DeviceId, bool, Domain, Statistic]:
        """By device, what is added up first."""
        return (self.device, not self.root, self.domain, self.statistic)

    @property
    def provenance(self) -> Provenance | None:
        """Where the newest window comes from."""
        return self.latest.provenance if self.latest else None

    def quantile_mw(self, quantile: float) -> int | None:
        """Return the power not exceeded in this share of the time: a bucket's upper edge."""
        return histogram.quantile_mw(self.histogram, quantile)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values with units in their names."""
        source = self.provenance
        swing = self.swing or Profile()
        return {
            "device": str(self.device),
            "domain": self.domain.name.lower(),
            "statistic": self.statistic.name.lower(),
            "windows": self.windows,
            "start_unix_ns": self.start_unix_ns,
            "end_unix_ns": self.end_unix_ns,
            "time_ns": self.time_ns,
            "energy_uj": self.energy_uj,
            "mean_mw": self.mean_mw,
            "min_mw": self.min_mw,
            **self.greatest,
            **{f"p{round(q * 100)}_mw": self.quantile_mw(q) for q in QUANTILES},
            "histogram": {
                "scale": self.histogram.scale,
                "offset": self.histogram.offset,
                "zero_ms": self.histogram.zero_ms,
                "counts_ms": list(self.histogram.counts_ms),
            },
            "swing_frequency_mhz": swing.swing_frequency_mhz,
            "swing_amplitude_mw": swing.swing_amplitude_mw,
            "swing_share_ppm": swing.swing_share_ppm,
            "limit_mw": self.latest.throttle.limit_mw if self.latest else None,
            **{f"throttled_{name}": value for name, value in self.throttled_ms.items()},
            "interface": source.interface.name.lower() if source else None,
            "method": source.method.name.lower() if source else None,
            **self.counted,
            "refresh_us": source.refresh_us if source else 0,
            "averaging_us": source.averaging_us if source else 0,
            "coverage_ppm": self.coverage_ppm,
            "epochs": len(self.epochs),
            "flags": flag_names(self.flags),
        }


def tallies(windows: Iterable[DeviceWindow]) -> list[Tally]:
    """Sort windows into one tally a sensor, by device, domain and statistic."""
    found: dict[Line, Tally] = {}
    for window in windows:
        key = line_of(window)
        found.setdefault(key, Tally(*key)).add(window)
    return [found[key] for key in sorted(found)]


def line_of(window: DeviceWindow) -> Line:
    """Return whose window it is."""
    return (window.device, window.domain, window.statistic)


def sensor_name(domain: Domain, statistic: Statistic) -> str:
    """Return what people call a sensor of a device; a counter needs no second word."""
    name = domain.name.lower()
    return name if statistic is Statistic.ENERGY else f"{name} {statistic.name.lower()}"


def _least(first: int | None, second: int | None) -> int | None:
    return min((value for value in (first, second) if value is not None), default=None)


def _most(first: int | None, second: int | None) -> int | None:
    return max((value for value in (first, second) if value is not None), default=None)


def _sum(first: int | None, second: int | None) -> int | None:
    known = [value for value in (first, second) if value is not None]
    return sum(known) if known else None
