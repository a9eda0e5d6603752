"""Merging of windows: merge(a, b) is the window of a and b together.

Exact for energy, time, counts, minimum, maximum, peaks and ramps (each window
knows those that end in it, wherever they began); the histogram keeps every
millisecond, at the coarser resolution of the two. Of the swing the larger
amplitude stays, and coverage is weighted by time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields, replace

from chipwatt.core import histogram
from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.columns import MAX_POWER_MW, MAX_SPAN_NS
from chipwatt.core.model import Flag
from chipwatt.core.records import DeviceWindow, HostSecond, Profile, Provenance, Throttle

_LARGEST = tuple(
    f.name for f in fields(Profile) if f.name.startswith(("max_", "peak_", "rise_", "fall_"))
)
_PARTIAL_PPM = 950_000
_COUNT_LIMIT = (1 << 32) - 2


def mergeable(first: DeviceWindow, second: DeviceWindow) -> bool:
    """Whether ``second`` goes on exactly where ``first`` ends: same line, same epoch, no gap."""
    return (
        _line(first) == _line(second)
        and first.provenance.interface is second.provenance.interface
        and first.provenance.method is second.provenance.method
        and first.start_mono_ns + first.duration_ns == second.start_mono_ns
        and first.cumulative_uj == second.cumulative_uj - second.energy_uj
        and first.duration_ns + second.duration_ns <= MAX_SPAN_NS
    )


def _line(window: DeviceWindow) -> tuple[object, ...]:
    return (window.device, window.domain, window.statistic, window.epoch)


def merge(first: DeviceWindow, second: DeviceWindow) -> DeviceWindow:
    """Return the window of both times together.

    Raises ValueError where they are not ``mergeable``: a sum over a gap or a
    reset would claim energy that nobody knows.
    """
    if not mergeable(first, second):
        raise ValueError(
            f"{first.device} {first.domain.name}: windows at {first.start_mono_ns} and"
            f" {second.start_mono_ns} ns are not adjacent in one epoch"
        )
    duration_ns = first.duration_ns + second.duration_ns
    energy_uj = first.energy_uj + second.energy_uj
    provenance = _provenance(first, second)
    flags = (first.flags | second.flags | Flag.MERGED) & ~Flag.PARTIAL
    if provenance.coverage_ppm < _PARTIAL_PPM:
        flags |= Flag.PARTIAL
    return replace(
        first,
        duration_ns=duration_ns,
        energy_uj=energy_uj,
        cumulative_uj=second.cumulative_uj,
        profile=_profile(first.profile, second.profile, energy_uj, duration_ns),
        throttle=_throttle(first.throttle, second.throttle),
        provenance=provenance,
        flags=int(flags),
    )


def merge_seconds(first: HostSecond, second: HostSecond) -> HostSecond:
    """Return the bin of both times together; raises ValueError where they are not adjacent.

    ``heard`` is the smaller of the two: what was seen throughout both.
    """
    if first.start_mono_ns + first.duration_ns != second.start_mono_ns:
        raise ValueError(
            f"host seconds at {first.start_mono_ns} and {second.start_mono_ns} ns are not adjacent"
        )
    return replace(
        first,
        duration_ns=first.duration_ns + second.duration_ns,
        cpu_mj=first.cpu_mj + second.cpu_mj,
        gpu_mj=first.gpu_mj + second.gpu_mj,
        memory_mj=first.memory_mj + second.memory_mj,
        other_mj=first.other_mj + second.other_mj,
        heard=min(first.heard, second.heard),
        expected=max(first.expected, second.expected),
        flags=int(first.flags | second.flags | Flag.MERGED),
        cpu_peak_mw=_known(max, first.cpu_peak_mw, second.cpu_peak_mw),
        gpu_peak_mw=_known(max, first.gpu_peak_mw, second.gpu_peak_mw),
        memory_peak_mw=_known(max, first.memory_peak_mw, second.memory_peak_mw),
        other_peak_mw=_known(max, first.other_peak_mw, second.other_peak_mw),
        total_peak_mw=_known(max, first.total_peak_mw, second.total_peak_mw),
    )


def _profile(first: Profile, second: Profile, energy_uj: int, duration_ns: int) -> Profile:
    swinging = max(first, second, key=lambda profile: profile.swing_amplitude_mw or 0)
    mean_mw = None
    if duration_ns and (first.mean_mw is not None or second.mean_mw is not None):
        mean_mw = min(MAX_POWER_MW, round(energy_uj * NS_PER_MS / duration_ns))
    return Profile(
        mean_mw=mean_mw,
        min_mw=_known(min, first.min_mw, second.min_mw),
        histogram=histogram.merge(first.histogram, second.histogram),
        swing_frequency_mhz=swinging.swing_frequency_mhz,
        swing_amplitude_mw=swinging.swing_amplitude_mw,
        swing_share_ppm=swinging.swing_share_ppm,
        **{name: _known(max, getattr(first, name), getattr(second, name)) for name in _LARGEST},
    )


def _throttle(first: Throttle, second: Throttle) -> Throttle:
    """Sum the times; the limit is the one in force at the end."""
    return Throttle(
        first.limit_mw if second.limit_mw is None else second.limit_mw,
        _known(_sum, first.power_ms, second.power_ms),
        _known(_sum, first.thermal_ms, second.thermal_ms),
        _known(_sum, first.brake_ms, second.brake_ms),
        _known(_sum, first.other_ms, second.other_ms),
    )


def _provenance(first: DeviceWindow, second: DeviceWindow) -> Provenance:
    one, other = first.provenance, second.provenance
    duration_ns = first.duration_ns + second.duration_ns
    covered = one.coverage_ppm * first.duration_ns + other.coverage_ppm * second.duration_ns
    return Provenance(
        interface=one.interface,
        method=one.method,
        expected=_sum((one.expected, other.expected)),
        got=_sum((one.got, other.got)),
        repeated=_sum((one.repeated, other.repeated)),
        dropped=_sum((one.dropped, other.dropped)),
        refresh_us=max(one.refresh_us, other.refresh_us),
        averaging_us=max(one.averaging_us, other.averaging_us),
        coverage_ppm=covered // duration_ns if duration_ns else 0,
    )


def _sum(values: Iterable[int]) -> int:
    """Add counts up to what their columns hold."""
    return min(_COUNT_LIMIT, sum(values))


def _known(
    combine: Callable[[Iterable[int]], int], first: int | None, second: int | None
) -> int | None:
    """Combine what is known; None only where neither is."""
    known = [value for value in (first, second) if value is not None]
    return combine(known) if known else None
