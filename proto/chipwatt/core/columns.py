"""The column table: every column that may cross the wire, with width, unit and range.

A column is a little-endian array of fixed-width integers. ``id`` is its name on
the wire and never changes its meaning; a new column takes a new id. A column
marked ``absent`` uses the largest value of its width for "the sensor cannot
say". A ragged column holds as many values as its row's count column says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np


class SectionKind(IntEnum):
    """What a section holds; numbers as in ``types.proto``."""

    DEVICE = 1
    HOST_SECOND = 2
    DEVICE_WINDOW = 3
    GAP = 4
    SENSOR = 5
    ABSENT = 6
    AGENT = 7


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """One column: wire id, name, numpy type, unit, least and greatest value."""

    id: int
    name: str
    dtype: str
    unit: str
    low: int
    high: int
    absent: bool = False
    ragged_by: str = ""

    @property
    def width(self) -> int:
        """Bytes a value."""
        return int(np.dtype(self.dtype).itemsize)

    @property
    def absent_value(self) -> int:
        """The value that stands for "not known" in an ``absent`` column."""
        signed = self.dtype[1] == "i"
        return (1 << (8 * self.width - signed)) - 1


U64 = (1 << 64) - 1
I64 = (1 << 63) - 1
MAX_ROWS: Final = 4096
"""Rows a section; a longer one refuses the batch before anything is touched."""
MAX_BUCKETS: Final = 160
"""Buckets a histogram, as OTLP's exponential histogram has by default."""
MAX_SPAN_NS: Final = 400 * 86_400 * 1_000_000_000
"""Longest window or gap: 400 days."""
MAX_POWER_MW: Final = 4_000_000_000
"""No chip, module or host draws more than 4 MW."""
MAX_ENERGY_UJ: Final = 1 << 62
_MIN_UNIX_NS: Final = 946_684_800_000_000_000  # 2000-01-01


def _power(id_: int, name: str) -> ColumnSpec:
    return ColumnSpec(id_, name, "<u4", "mW", 0, MAX_POWER_MW, absent=True)


def _ramp(id_: int, name: str) -> ColumnSpec:
    return ColumnSpec(id_, name, "<u4", "mW/s", 0, MAX_POWER_MW, absent=True)


def _count(id_: int, name: str) -> ColumnSpec:
    return ColumnSpec(id_, name, "<u4", "1", 0, (1 << 32) - 1)


def _time() -> tuple[ColumnSpec, ...]:
    return (
        ColumnSpec(3, "start_unix_ns", "<i8", "ns", _MIN_UNIX_NS, I64),
        ColumnSpec(4, "start_mono_ns", "<u8", "ns", 0, I64),
        ColumnSpec(5, "duration_ns", "<u8", "ns", 0, MAX_SPAN_NS),
    )


def _device_domain() -> tuple[ColumnSpec, ...]:
    return (
        ColumnSpec(1, "device", "<u2", "row of DEVICE", 0, MAX_ROWS - 1),
        ColumnSpec(2, "domain", "<u1", "Domain", 1, 8),
    )


def _statistic(id_: int) -> ColumnSpec:
    return ColumnSpec(id_, "statistic", "<u1", "Statistic", 1, 3)


COLUMNS: Final[dict[SectionKind, tuple[ColumnSpec, ...]]] = {
    SectionKind.DEVICE: (
        ColumnSpec(1, "kind", "<u1", "DeviceKind", 1, 6),
        ColumnSpec(2, "ordinal", "<u2", "1", 0, 65_535),
        ColumnSpec(3, "uid_high", "<u8", "1", 0, U64),
        ColumnSpec(4, "uid_low", "<u8", "1", 0, U64),
    ),
    SectionKind.HOST_SECOND: (
        *_time(),
        ColumnSpec(10, "cpu_mj", "<u8", "mJ", 0, MAX_ENERGY_UJ),
        ColumnSpec(11, "gpu_mj", "<u8", "mJ", 0, MAX_ENERGY_UJ),
        ColumnSpec(12, "memory_mj", "<u8", "mJ", 0, MAX_ENERGY_UJ),
        ColumnSpec(13, "other_mj", "<u8", "mJ", 0, MAX_ENERGY_UJ),
        _power(14, "cpu_peak_mw"),
        _power(15, "gpu_peak_mw"),
        _power(16, "memory_peak_mw"),
        _power(17, "other_peak_mw"),
        _power(18, "total_peak_mw"),
        ColumnSpec(19, "heard", "<u2", "1", 0, 65_535),
        ColumnSpec(20, "expected", "<u2", "1", 0, 65_535),
        ColumnSpec(21, "flags", "<u4", "Flag", 0, (1 << 32) - 1),
    ),
    SectionKind.DEVICE_WINDOW: (
        *_device_domain(),
        *_time(),
        ColumnSpec(6, "epoch", "<u4", "1", 0, (1 << 32) - 1),
        ColumnSpec(7, "energy_uj", "<u8", "uJ", 0, MAX_ENERGY_UJ),
        ColumnSpec(8, "cumulative_uj", "<u8", "uJ", 0, MAX_ENERGY_UJ),
        ColumnSpec(9, "flags", "<u4", "Flag", 0, (1 << 32) - 1),
        _power(10, "mean_mw"),
        _power(11, "min_mw"),
        _power(12, "max_mw"),
        _power(13, "peak_10ms_mw"),
        _power(14, "peak_100ms_mw"),
        _power(15, "peak_1s_mw"),
        _ramp(16, "rise_100ms_mw_per_s"),
        _ramp(17, "fall_100ms_mw_per_s"),
        _ramp(18, "rise_1s_mw_per_s"),
        _ramp(19, "fall_1s_mw_per_s"),
        ColumnSpec(20, "hist_scale", "<i1", "1", -10, 20),
        ColumnSpec(21, "hist_offset", "<i4", "1", -(1 << 30), 1 << 30),
        ColumnSpec(22, "hist_zero_ms", "<u4", "ms", 0, (1 << 32) - 1),
        ColumnSpec(23, "hist_buckets", "<u1", "1", 0, MAX_BUCKETS),
        ColumnSpec(24, "hist_counts_ms", "<u4", "ms", 0, (1 << 32) - 1, ragged_by="hist_buckets"),
        ColumnSpec(25, "swing_frequency_mhz", "<u4", "mHz", 0, 100_000, absent=True),
        _power(26, "swing_amplitude_mw"),
        ColumnSpec(27, "swing_share_ppm", "<u4", "ppm", 0, 1_000_000, absent=True),
        _power(28, "limit_mw"),
        ColumnSpec(29, "throttled_power_ms", "<u4", "ms", 0, (1 << 32) - 2, absent=True),
        ColumnSpec(30, "throttled_thermal_ms", "<u4", "ms", 0, (1 << 32) - 2, absent=True),
        ColumnSpec(31, "throttled_brake_ms", "<u4", "ms", 0, (1 << 32) - 2, absent=True),
        ColumnSpec(32, "throttled_other_ms", "<u4", "ms", 0, (1 << 32) - 2, absent=True),
        ColumnSpec(33, "interface", "<u1", "Interface", 1, 10),
        ColumnSpec(34, "method", "<u1", "Method", 1, 3),
        _count(35, "expected"),
        _count(36, "got"),
        _count(37, "repeated"),
        _count(38, "dropped"),
        ColumnSpec(39, "refresh_us", "<u4", "us", 0, (1 << 32) - 1),
        ColumnSpec(40, "averaging_us", "<u4", "us", 0, (1 << 32) - 1),
        ColumnSpec(41, "coverage_ppm", "<u4", "ppm", 0, 1_000_000),
        _statistic(42),
    ),
    SectionKind.GAP: (
        *_device_domain(),
        *_time(),
        ColumnSpec(6, "lower_uj", "<u8", "uJ", 0, MAX_ENERGY_UJ),
        ColumnSpec(7, "upper_uj", "<u8", "uJ", 0, MAX_ENERGY_UJ),
        ColumnSpec(8, "reason", "<u1", "GapReason", 1, 8),
        _statistic(9),
    ),
    SectionKind.SENSOR: (
        *_device_domain(),
        ColumnSpec(3, "interface", "<u1", "Interface", 1, 10),
        ColumnSpec(4, "method", "<u1", "Method", 1, 3),
        ColumnSpec(5, "root", "<u1", "1", 0, 1),
        ColumnSpec(6, "refresh_us", "<u4", "us", 0, (1 << 32) - 1),
        ColumnSpec(7, "averaging_us", "<u4", "us", 0, (1 << 32) - 1),
        ColumnSpec(8, "period_us", "<u4", "us", 0, (1 << 32) - 1),
        ColumnSpec(9, "call_cost_ns", "<u4", "ns", 0, (1 << 32) - 1),
        ColumnSpec(10, "max_power_mw", "<u4", "mW", 0, MAX_POWER_MW),
        _statistic(11),
    ),
    SectionKind.ABSENT: (
        ColumnSpec(1, "interface", "<u1", "Interface", 1, 10),
        ColumnSpec(2, "reason", "<u1", "AbsentReason", 1, 7),
    ),
    SectionKind.AGENT: (
        _count(1, "uptime_s"),
        _count(2, "cpu_ppm"),
        _count(3, "library_ppm"),
        _count(4, "deadlines"),
        _count(5, "late_deadlines"),
        _count(6, "transient_errors"),
        _count(7, "broken_sources"),
    ),
}
"""Every section's columns."""
