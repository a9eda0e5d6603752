"""Records to the messages of ``chipwatt.v1.QueryService``; what is None stays absent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chipwatt.collector.store.contract import HostFacts, HostRow
from chipwatt.collector.store.quarantine import Conflict
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import flag_names
from chipwatt.core.records import AbsentInterface, DeviceWindow, Gap, HostSecond, SensorStatus
from chipwatt.v1 import query_pb2, types_pb2

_DOMAIN = types_pb2.Domain.ValueType
_INTERFACE = types_pb2.Interface.ValueType
_STATISTIC = types_pb2.Statistic.ValueType
_NO_FACTS = HostFacts()
_METHOD = types_pb2.Method.ValueType


def host_message(
    row: HostRow,
    name: str,
    devices: int,
    *,
    last_seen_unix_ns: int,
    connected: bool,
    facts: HostFacts = _NO_FACTS,
) -> query_pb2.Host:
    """Describe a host; ``name`` is what people call it."""
    offset_ns = row.clock_offset_ns if facts.clock_offset_ns is None else facts.clock_offset_ns
    return query_pb2.Host(
        host_id=row.host.hex(),
        name=name or row.host.hex(),
        first_seen_unix_ns=row.first_seen_unix_ns,
        last_seen_unix_ns=last_seen_unix_ns,
        devices=devices,
        clock_offset_ns=offset_ns,
        agent_version=row.agent_version,
        connected=connected,
        missing_batches=facts.missing_batches,
        counted=reason_counts(facts.counted),
    )


def reason_counts(counted: Mapping[str, int]) -> list[query_pb2.ReasonCount]:
    """Lay counts by reason out, by name."""
    return [
        query_pb2.ReasonCount(reason=reason, count=count)
        for reason, count in sorted(counted.items())
    ]


def conflict_message(conflict: Conflict) -> query_pb2.Conflict:
    """Describe a batch that was put aside."""
    return query_pb2.Conflict(
        host_id=conflict.key.host.hex(),
        boot_id=conflict.key.boot.hex(),
        spool_epoch=conflict.key.spool_epoch,
        sequence=conflict.key.sequence,
        digest=conflict.digest.hex(),
        received_unix_ns=conflict.received_unix_ns,
    )


def device_message(device: DeviceId, sensors: Iterable[SensorStatus]) -> query_pb2.Device:
    """Describe a device with the sensors that read it."""
    return query_pb2.Device(
        id=str(device),
        kind=types_pb2.DeviceKind.ValueType(device.kind),
        ordinal=device.ordinal,
        sensors=[
            query_pb2.Sensor(
                domain=_DOMAIN(sensor.domain),
                statistic=_STATISTIC(sensor.statistic),
                interface=_INTERFACE(sensor.interface),
                method=_METHOD(sensor.method),
                root=sensor.root,
                refresh_us=sensor.refresh_us,
                averaging_us=sensor.averaging_us,
                period_us=sensor.period_us,
                call_cost_ns=sensor.call_cost_ns,
                max_power_mw=sensor.max_power_mw,
            )
            for sensor in sensors
        ],
    )


def absent_message(absent: AbsentInterface) -> query_pb2.AbsentInterface:
    """Say which interface gives nothing, and why."""
    return query_pb2.AbsentInterface(
        interface=_INTERFACE(absent.interface),
        reason=types_pb2.AbsentReason.ValueType(absent.reason),
    )


def window_message(window: DeviceWindow) -> query_pb2.DeviceWindow:
    """Lay a window out flat, as the wire has it."""
    profile, throttle, provenance = window.profile, window.throttle, window.provenance
    return query_pb2.DeviceWindow(
        device_id=str(window.device),
        domain=_DOMAIN(window.domain),
        statistic=_STATISTIC(window.statistic),
        start_unix_ns=window.start_unix_ns,
        start_mono_ns=window.start_mono_ns,
        duration_ns=window.duration_ns,
        epoch=window.epoch,
        energy_uj=window.energy_uj,
        cumulative_uj=window.cumulative_uj,
        mean_mw=profile.mean_mw,
        min_mw=profile.min_mw,
        max_mw=profile.max_mw,
        peak_10ms_mw=profile.peak_10ms_mw,
        peak_100ms_mw=profile.peak_100ms_mw,
        peak_1s_mw=profile.peak_1s_mw,
        rise_100ms_mw_per_s=profile.rise_100ms_mw_per_s,
        fall_100ms_mw_per_s=profile.fall_100ms_mw_per_s,
        rise_1s_mw_per_s=profile.rise_1s_mw_per_s,
        fall_1s_mw_per_s=profile.fall_1s_mw_per_s,
        histogram=query_pb2.PowerHistogram(
            scale=profile.histogram.scale,
            offset=profile.histogram.offset,
            zero_ms=profile.histogram.zero_ms,
            counts_ms=profile.histogram.counts_ms,
        ),
        swing_frequency_mhz=profile.swing_frequency_mhz,
        swing_amplitude_mw=profile.swing_amplitude_mw,
        swing_share_ppm=profile.swing_share_ppm,
        limit_mw=throttle.limit_mw,
        throttled_power_ms=throttle.power_ms,
        throttled_thermal_ms=throttle.thermal_ms,
        throttled_brake_ms=throttle.brake_ms,
        throttled_other_ms=throttle.other_ms,
        interface=_INTERFACE(provenance.interface),
        method=_METHOD(provenance.method),
        expected=provenance.expected,
        got=provenance.got,
        repeated=provenance.repeated,
        dropped=provenance.dropped,
        refresh_us=provenance.refresh_us,
        averaging_us=provenance.averaging_us,
        coverage_ppm=provenance.coverage_ppm,
        flags=flag_names(window.flags),
    )


def host_second_message(second: HostSecond) -> query_pb2.HostSecond:
    """Lay a host second out."""
    return query_pb2.HostSecond(
        start_unix_ns=second.start_unix_ns,
        start_mono_ns=second.start_mono_ns,
        duration_ns=second.duration_ns,
        cpu_mj=second.cpu_mj,
        gpu_mj=second.gpu_mj,
        memory_mj=second.memory_mj,
        other_mj=second.other_mj,
        cpu_peak_mw=second.cpu_peak_mw,
        gpu_peak_mw=second.gpu_peak_mw,
        memory_peak_mw=second.memory_peak_mw,
        other_peak_mw=second.other_peak_mw,
        total_peak_mw=second.total_peak_mw,
        heard=second.heard,
        expected=second.expected,
        flags=flag_names(second.flags),
    )


def gap_message(gap: Gap) -> query_pb2.Gap:
    """Lay a gap out."""
    return query_pb2.Gap(
        device_id=str(gap.device),
        domain=_DOMAIN(gap.domain),
        statistic=_STATISTIC(gap.statistic),
        start_unix_ns=gap.start_unix_ns,
        start_mono_ns=gap.start_mono_ns,
        duration_ns=gap.duration_ns,
        lower_uj=gap.lower_uj,
        upper_uj=gap.upper_uj,
        reason=types_pb2.GapReason.ValueType(gap.reason),
    )
