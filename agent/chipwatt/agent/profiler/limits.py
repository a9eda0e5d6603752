"""What each chip may draw, as far as anybody says: the scale of its workloads' power classes."""

from __future__ import annotations

from collections.abc import Sequence

from chipwatt.agent.profiler.track import Track
from chipwatt.core.identity import DeviceId


def limits_mw(tracks: Sequence[Track]) -> dict[DeviceId, int]:
    """Return the limits in force of the root domains of each chip, added up."""
    limits: dict[DeviceId, int] = {}
    for track in tracks:
        if track.sensor.root:
            device = track.sensor.device
            limits[device] = limits.get(device, 0) + _limit_mw(track)
    return limits


def _limit_mw(track: Track) -> int:
    limits = track.sensor.limits
    told = track.throttle.limit_mw, limits.default_mw, limits.max_mw
    return next((limit for limit in told if limit), track.sensor.max_power_mw)
