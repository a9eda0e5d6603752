"""Gaps that have not ended: derived when somebody asks, for they change with every second.

A line (one statistic of one domain of one device) is told up to the end of its
newest window or gap. If its host is heard of later than that, what the line drew
since is not known yet, and no record says so until the sensor returns. A line of
which nothing came for a week is no longer taken for one that will return.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chipwatt.collector.store.lines import Line
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.columns import MAX_ENERGY_UJ
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import AbsentReason, Domain, Statistic
from chipwatt.core.records import AbsentInterface, DeviceWindow, SensorStatus
from chipwatt.v1 import query_pb2 as pb
from chipwatt.v1 import types_pb2

OPEN_AFTER_NS = 90 * NS_PER_S
"""Windows of 10 s come in batches of up to a minute: before this nothing is missing."""
FORGET_NS = 7 * 86_400 * NS_PER_S
_HIDDEN = (AbsentReason.PERMISSION_DENIED, AbsentReason.HIDDEN_BY_POLICY)
_Key = tuple[DeviceId, Domain, Statistic]


@dataclass(frozen=True, slots=True)
class HostNow:
    """What is known of a host at this moment."""

    now_unix_ns: int
    heard_unix_ns: int
    """When it last sent something, by our clock."""
    first_seen_unix_ns: int
    newest_end_unix_ns: int
    """End of its newest host second; 0 where there is none."""


def open_gaps(
    host: HostNow,
    lines: Iterable[Line],
    newest: Iterable[DeviceWindow],
    sensors: Iterable[SensorStatus],
    absent: Iterable[AbsentInterface],
) -> list[pb.OpenGap]:
    """Return the gaps of a host that are open, by device."""
    ends: dict[_Key, tuple[int, int]] = {
        (line.device, line.domain, line.statistic): (line.end_unix_ns, line.end_mono_ns)
        for line in lines
    }
    for window in newest:
        key = (window.device, window.domain, window.statistic)
        end_ns = window.start_unix_ns + window.duration_ns
        if end_ns > ends.get(key, (0, 0))[0]:
            ends[key] = (end_ns, window.start_mono_ns + window.duration_ns)
    status = {(each.device, each.domain, each.statistic): each for each in sensors}
    is_silent = host.now_unix_ns - host.heard_unix_ns > OPEN_AFTER_NS
    until_ns = max([host.newest_end_unix_ns, *(end for end, _ in ends.values())], default=0)
    until_ns = max(until_ns, host.now_unix_ns) if is_silent or not until_ns else until_ns
    hidden = {each.interface for each in absent if each.reason in _HIDDEN}
    found = []
    for key in sorted({*ends, *status}):
        sensor = status.get(key)
        start_ns, mono_ns = ends.get(key, (host.first_seen_unix_ns, 0))
        if not OPEN_AFTER_NS < until_ns - start_ns <= FORGET_NS:
            continue
        reason = pb.OPEN_GAP_REASON_SENSOR_LOST
        if is_silent:
            reason = pb.OPEN_GAP_REASON_HOST_SILENT
        elif key not in ends:
            reason = pb.OPEN_GAP_REASON_NO_DATA_YET
        elif sensor is not None and sensor.interface in hidden:
            reason = pb.OPEN_GAP_REASON_PERMISSION_LOST
        device, domain, statistic = key
        found.append(
            pb.OpenGap(
                device_id=str(device),
                domain=types_pb2.Domain.ValueType(domain),
                statistic=types_pb2.Statistic.ValueType(statistic),
                start_unix_ns=start_ns,
                start_mono_ns=mono_ns,
                duration_ns=until_ns - start_ns,
                upper_uj=_most_uj(sensor, until_ns - start_ns),
                reason=reason,
            )
        )
    return found


def _most_uj(sensor: SensorStatus | None, duration_ns: int) -> int | None:
    """Return the most that a sensor can have missed, rounded up; None where nobody said."""
    if sensor is None or not sensor.max_power_mw:
        return None
    return min(MAX_ENERGY_UJ, -(-sensor.max_power_mw * duration_ns // NS_PER_MS))
