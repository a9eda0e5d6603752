"""Messages of a collector back to values; the mirror of what the collector writes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chipwatt.client.values import (
    CollectorStatus,
    ConflictInfo,
    HostInfo,
    OpenGap,
)
from chipwatt.core import records
from chipwatt.core.identity import DeviceId, parse_device
from chipwatt.core.model import Domain, Flag, GapReason, Interface, Method, Statistic
from chipwatt.v1 import query_pb2

_PROFILE = (
    "mean_mw", "min_mw", "max_mw", "peak_10ms_mw", "peak_100ms_mw", "peak_1s_mw",
    "rise_100ms_mw_per_s", "fall_100ms_mw_per_s", "rise_1s_mw_per_s", "fall_1s_mw_per_s",
    "swing_frequency_mhz", "swing_amplitude_mw", "swing_share_ppm",
)  # fmt: skip
_PEAKS = ("cpu_peak_mw", "gpu_peak_mw", "memory_peak_mw", "other_peak_mw", "total_peak_mw")
_THROTTLED = ("power_ms", "thermal_ms", "brake_ms", "other_ms")


def window(message: query_pb2.DeviceWindow) -> records.DeviceWindow:
    """Read a window."""
    profile = {name: _present(message, name) for name in _PROFILE}
    throttle = {name: _present(message, f"throttled_{name}") for name in _THROTTLED}
    histogram = message.histogram
    return records.DeviceWindow(
        device=parse_device(message.device_id),
        domain=Domain(message.domain),
        statistic=Statistic(message.statistic),
        start_unix_ns=message.start_unix_ns,
        start_mono_ns=message.start_mono_ns,
        duration_ns=message.duration_ns,
        epoch=message.epoch,
        energy_uj=message.energy_uj,
        cumulative_uj=message.cumulative_uj,
        profile=records.Profile(
            histogram=records.PowerHistogram(
                histogram.scale, histogram.offset, histogram.zero_ms, tuple(histogram.counts_ms)
            ),
            **profile,
        ),
        throttle=records.Throttle(limit_mw=_present(message, "limit_mw"), **throttle),
        provenance=records.Provenance(
            interface=Interface(message.interface),
            method=Method(message.method),
            expected=message.expected,
            got=message.got,
            repeated=message.repeated,
            dropped=message.dropped,
            refresh_us=message.refresh_us,
            averaging_us=message.averaging_us,
            coverage_ppm=message.coverage_ppm,
        ),
        flags=_flags(message.flags),
    )


def host_second(message: query_pb2.HostSecond) -> records.HostSecond:
    """Read a host second."""
    return records.HostSecond(
        start_unix_ns=message.start_unix_ns,
        start_mono_ns=message.start_mono_ns,
        duration_ns=message.duration_ns,
        cpu_mj=message.cpu_mj,
        gpu_mj=message.gpu_mj,
        memory_mj=message.memory_mj,
        other_mj=message.other_mj,
        heard=message.heard,
        expected=message.expected,
        flags=_flags(message.flags),
        **{name: _present(message, name) for name in _PEAKS},
    )


def gap(message: query_pb2.Gap) -> records.Gap:
    """Read a gap."""
    return records.Gap(
        device=parse_device(message.device_id),
        domain=Domain(message.domain),
        statistic=Statistic(message.statistic),
        start_unix_ns=message.start_unix_ns,
        start_mono_ns=message.start_mono_ns,
        duration_ns=message.duration_ns,
        lower_uj=message.lower_uj,
        upper_uj=message.upper_uj,
        reason=GapReason(message.reason),
    )


def sensor(message: query_pb2.Sensor, device: DeviceId) -> records.SensorStatus:
    """Read the status of a sensor of ``device``."""
    return records.SensorStatus(
        device=device,
        domain=Domain(message.domain),
        statistic=Statistic(message.statistic),
        interface=Interface(message.interface),
        method=Method(message.method),
        root=message.root,
        refresh_us=message.refresh_us,
        averaging_us=message.averaging_us,
        period_us=message.period_us,
        call_cost_ns=message.call_cost_ns,
        max_power_mw=message.max_power_mw,
    )


def host(message: query_pb2.Host) -> HostInfo:
    """Read a host."""
    return HostInfo(**{**_plain(message, HostInfo), "counted": _counted(message.counted)})


def open_gap(message: query_pb2.OpenGap) -> OpenGap:
    """Read a gap that has not ended."""
    reason = query_pb2.OpenGapReason.Name(message.reason).removeprefix("OPEN_GAP_REASON_")
    return OpenGap(
        device=parse_device(message.device_id),
        domain=Domain(message.domain),
        statistic=Statistic(message.statistic),
        start_unix_ns=message.start_unix_ns,
        start_mono_ns=message.start_mono_ns,
        duration_ns=message.duration_ns,
        lower_uj=message.lower_uj,
        upper_uj=_present(message, "upper_uj"),
        reason=reason.lower(),
    )


def conflict(message: query_pb2.Conflict) -> ConflictInfo:
    """Read a batch that was put aside."""
    return ConflictInfo(**_plain(message, ConflictInfo))


def status(message: query_pb2.GetCollectorStatusResponse) -> CollectorStatus:
    """Read a collector's counters."""
    counters = {
        name: getattr(message, name)
        for name in CollectorStatus.__dataclass_fields__
        if name not in ("root_energy_uj", "counted")
    }
    energy_uj = message.root_energy_j * 1_000_000 + message.root_energy_rest_uj
    counted = _counted(message.counted)
    return CollectorStatus(root_energy_uj=energy_uj, counted=counted, **counters)


def _counted(messages: Iterable[query_pb2.ReasonCount]) -> dict[str, int]:
    return {message.reason: message.count for message in messages}


def _plain(message: Any, cls: Any) -> dict[str, Any]:
    return {name: getattr(message, name) for name in cls.__dataclass_fields__}


def _present(message: Any, name: str) -> Any:
    return getattr(message, name) if message.HasField(name) else None


def _flags(names: Iterable[str]) -> int:
    """Return the flags of these names; a newer collector's new ones are left out."""
    known = Flag.__members__
    flags = Flag(0)
    for name in names:
        flags |= known.get(name, Flag(0))
    return int(flags)
