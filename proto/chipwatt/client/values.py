"""Answers of a collector as values. Powers are mW, energies µJ, times ns since 1970 UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chipwatt.core.identity import DeviceId
from chipwatt.core.model import Domain, Statistic
from chipwatt.core.records import AbsentInterface, DeviceWindow, HostSecond, SensorStatus


@dataclass(frozen=True, slots=True)
class HostInfo:
    """A host that has reported."""

    host_id: str
    """32 hexadecimal digits."""
    name: str
    """From the certificate; else the host id."""
    first_seen_unix_ns: int
    last_seen_unix_ns: int
    devices: int
    clock_offset_ns: int
    """The agent's wall clock minus the collector's."""
    agent_version: int
    """major * 1000000 + minor * 1000 + patch."""
    connected: bool
    missing_batches: int = 0
    """Sequence numbers between stored batches that never came: merged or lost in the agent's
    spool, refused, under way, or sent to another collector."""
    counted: Mapping[str, int] = field(default_factory=dict)
    """Batches and rows that did not stay as they came, by reason, since the collector started."""


@dataclass(frozen=True, slots=True)
class OpenGap:
    """Energy that is not known so far, up to the newest that is known of the host."""

    device: DeviceId
    domain: Domain
    statistic: Statistic
    start_unix_ns: int
    start_mono_ns: int
    duration_ns: int
    lower_uj: int
    upper_uj: int | None
    """None: nobody said how much the sensor's chip can draw."""
    reason: str
    """``host_silent``, ``sensor_lost``, ``permission_lost`` or ``no_data_yet``."""


@dataclass(frozen=True, slots=True)
class ConflictInfo:
    """A batch that contradicts a stored one and was put aside."""

    host_id: str
    boot_id: str
    spool_epoch: int
    sequence: int
    digest: str
    received_unix_ns: int


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A device of a host and the sensors that read it."""

    device: DeviceId
    sensors: tuple[SensorStatus, ...]


@dataclass(frozen=True, slots=True)
class HostDevices:
    """What can be measured on a host, and what cannot."""

    devices: tuple[DeviceInfo, ...]
    absent: tuple[AbsentInterface, ...]


@dataclass(frozen=True, slots=True)
class LatestState:
    """The newest that is known of a host."""

    host_id: str
    windows: tuple[DeviceWindow, ...]
    """One of each statistic of each domain."""
    host_second: HostSecond | None


@dataclass(frozen=True, slots=True)
class CollectorStatus:
    """What a collector took, refused and keeps."""

    batches_stored: int
    host_seconds_stored: int
    device_windows_stored: int
    gaps_stored: int
    duplicates_absorbed: int
    conflicts: int
    refused: int
    store_bytes: int
    connected: int
    root_energy_uj: int
    """All energy stored, root domains only."""
    otlp_points_sent: int
    otlp_points_rejected: int
    otlp_lag_ms: int
    ledger_holes: int = 0
    """Places where a sensor's windows do not join up, as of the last compaction."""
    ledger_hole_uj: int = 0
    """Energy that counters counted there and no window brought."""
    ledger_twice_uj: int = 0
    """Energy that more than one window brought."""
    duplicates_unverified: int = 0
    """Duplicates stored so long ago that contents could not be compared."""
    counted: Mapping[str, int] = field(default_factory=dict)
    """Batches refused, and rows that did not stay as they came, by reason."""
    missing_batches: int = 0
    """Sum over hosts, see ``HostInfo``."""
    stalled: str = ""
    """Why nothing can be stored at present; empty where it can."""
    store_failures: int = 0
    damaged: int = 0
    """Places of the store that are damaged; of lost rows ``gaps`` tells the energy."""
    streams_shed: int = 0
    """Streams sent away for want of room; their agents keep everything and come again."""
