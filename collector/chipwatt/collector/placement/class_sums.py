"""Sums over the windows of one workload class on one model of hardware; integers only.

Power classes are eighths of the highest limit seen. Windows under a lower limit are
put by their upper edges, so that a class is never thought to draw less than it did.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chipwatt.collector.placement.profiles import WorkloadWindow

POWER_CLASSES = 8
OCCUPANCY_PARTS = 32
_SWINGS = 4
_AGED_AT = 1_024
_SLOTS = 8
"""Window starts that workloads of a class may still join."""
_MINUTE_NS = 60_000_000_000
_OLD_ROW = f"<8Q{POWER_CLASSES}Q{_SWINGS}Q"
_ROW = f"{_OLD_ROW}{POWER_CLASSES}Q"


@dataclass(slots=True)
class ClassSums:
    """What is kept of a class. Not safe between threads."""

    windows: int = 0
    counted: int = 0
    """Windows in the sums, old ones by half."""
    last_seen_unix_ns: int = 0
    limit_mw: int = 0
    energy_uj: int = 0
    duration_ns: int = 0
    together_mw: int = 0
    """Highest mean power of a workload's share of several that ran at once."""
    alone_mw: int = 0
    """Highest mean power of one workload over a window."""
    occupancy: list[int] = field(default_factory=lambda: [0] * POWER_CLASSES)
    """Milliseconds in 1/32 in each power class."""
    peaks: list[int] = field(default_factory=lambda: [0] * POWER_CLASSES)
    """Minutes by the highest power class with any time in it."""
    swings: list[int] = field(default_factory=lambda: [0] * _SWINGS)
    """Windows of each swing class."""
    slots: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Newest window starts: workloads seen, and the sum of their mean powers."""

    def add(self, window: WorkloadWindow) -> None:
        """Add one window."""
        if self.counted >= _AGED_AT:
            self._age()
        self.windows += 1
        self.counted += 1
        end_unix_ns = window.start_unix_ns + window.duration_ns
        self.last_seen_unix_ns = max(self.last_seen_unix_ns, end_unix_ns)
        self.energy_uj += window.energy_uj
        self.duration_ns += window.duration_ns
        self.swings[window.swing_class] += 1
        if window.limit_mw > self.limit_mw:
            self.occupancy = _placed(self.occupancy, self.limit_mw, window.limit_mw)
            self.peaks = _placed(self.peaks, self.limit_mw, window.limit_mw)
            self.limit_mw = window.limit_mw
        weight = window.duration_ns // 1_000_000
        placed = _placed(window.occupancy, window.limit_mw, self.limit_mw)
        self.occupancy = [a + weight * b for a, b in zip(self.occupancy, placed, strict=True)]
        # Of a longer window each minute may have had its peak.
        self.peaks[_highest(placed)] += window.duration_ns // _MINUTE_NS
        self._join(window.start_unix_ns, window.mean_mw)

    def _join(self, start_unix_ns: int, mean_mw: int) -> None:
        """See what workloads draw that run at once."""
        self.alone_mw = max(self.alone_mw, mean_mw)
        count, total_mw = self.slots.pop(start_unix_ns, (0, 0))
        self.slots[start_unix_ns] = count, total_mw = count + 1, total_mw + mean_mw
        if len(self.slots) > _SLOTS:
            # A slot is judged once it is full: half of its workloads are no sum.
            count, total_mw = self.slots.pop(min(self.slots))
            if count > 1:
                self.together_mw = max(self.together_mw, -(-total_mw // count))

    def _age(self) -> None:
        self.counted //= 2
        self.energy_uj //= 2
        self.duration_ns //= 2
        self.occupancy = [time // 2 for time in self.occupancy]
        self.peaks = [minutes // 2 for minutes in self.peaks]
        self.swings = [count // 2 for count in self.swings]
        self.together_mw = self.alone_mw = 0

    def pack(self) -> bytes:
        """Return the sums as bytes of one fixed length; open slots are left out."""
        return struct.pack(
            _ROW,
            self.windows,
            self.counted,
            self.last_seen_unix_ns,
            self.limit_mw,
            self.energy_uj,
            self.duration_ns,
            self.together_mw,
            self.alone_mw,
            *self.occupancy,
            *self.swings,
            *self.peaks,
        )

    @classmethod
    def unpack(cls, row: bytes) -> ClassSums:
        """Return the sums that ``pack`` wrote, now or before it wrote peaks."""
        is_old = len(row) == struct.calcsize(_OLD_ROW)
        windows, counted, last_seen, limit, energy, duration, together, alone, *rest = (
            struct.unpack(_OLD_ROW if is_old else _ROW, row)
        )
        occupancy, swings = rest[:POWER_CLASSES], rest[POWER_CLASSES:][:_SWINGS]
        peaks = rest[POWER_CLASSES + _SWINGS :]
        if is_old:
            peaks = [0] * POWER_CLASSES
            peaks[_highest(occupancy)] = duration // _MINUTE_NS
        return cls(
            windows=windows,
            counted=counted,
            last_seen_unix_ns=last_seen,
            limit_mw=limit,
            energy_uj=energy,
            duration_ns=duration,
            together_mw=together,
            alone_mw=alone,
            occupancy=occupancy,
            swings=swings,
            peaks=peaks,
        )


def _highest(occupancy: list[int]) -> int:
    """Return the highest class with any time in it."""
    return max((k for k, time in enumerate(occupancy) if time), default=0)


def _placed(occupancy: list[int] | tuple[int, ...], limit_mw: int, on_mw: int) -> list[int]:
    """Return times in classes of one limit as times in classes of a higher one."""
    placed = [0] * POWER_CLASSES
    for k, time in enumerate(occupancy):
        placed[-(-(k + 1) * limit_mw // on_mw) - 1 if limit_mw else 0] += time
    return placed
