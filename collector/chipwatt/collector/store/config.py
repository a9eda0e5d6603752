"""Settings of the store, and the resolutions it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chipwatt.core.clock import NS_PER_S
from chipwatt.core.settings import Duration

MINUTE_NS: Final = 60 * NS_PER_S
HOUR_NS: Final = 60 * MINUTE_NS
DAY_NS: Final = 24 * HOUR_NS
HOSTS_A_SHARD: Final = 64
"""Neighbours in the host dictionary that share a block: a query for one host decodes this many."""

_MINUTES_15 = Duration(15 * MINUTE_NS)
_DAY = Duration(DAY_NS)
_DAYS_2 = Duration(2 * DAY_NS)
_DAYS_30 = Duration(30 * DAY_NS)
_DAYS_180 = Duration(180 * DAY_NS)
_YEARS_5 = Duration(5 * 365 * DAY_NS)


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """``[store]``."""

    path: Path = Path("/var/lib/chipwatt/store")
    """Directory of the store; made where it does not exist."""
    retention_raw: Duration = _DAYS_2
    """How long windows and host seconds are kept as agents sent them."""
    retention_1min: Duration = _DAYS_30
    """How long one-minute roll-ups, and minutes of workloads, are kept."""
    retention_10min: Duration = _DAYS_180
    """How long ten-minute roll-ups are kept."""
    retention_1h: Duration = _YEARS_5
    """How long one-hour roll-ups, and gaps, are kept."""
    follow_least: Duration = _MINUTES_15
    """How long a reader without a named cursor may follow what was committed."""
    follow_most: Duration = _DAY
    """How long the slowest named cursor may hold back what was committed."""

    def __post_init__(self) -> None:
        kept = (
            self.retention_raw,
            self.retention_1min,
            self.retention_10min,
            self.retention_1h,
        )
        if not all(kept):
            raise ValueError('a retention of 0 keeps nothing; write how long, as "2d"')
        if list(kept) != sorted(kept):
            raise ValueError("a coarser resolution is kept at least as long as a finer one")
        if self.follow_most < self.follow_least:
            raise ValueError("follow_most is at least follow_least")


@dataclass(frozen=True, slots=True)
class Tier:
    """One resolution that is kept."""

    number: int
    name: str
    resolution_ns: int
    """Length of a rolled-up window; 0 as the agent sent it."""
    slot_ns: int
    """Time that one block covers."""
    file_ns: int
    """Time that one file covers, counted from 1970."""
    retention_ns: int

    def file_start(self, slot_unix_ns: int) -> int:
        """Return when the file that takes this slot begins."""
        return slot_unix_ns - slot_unix_ns % self.file_ns


def tiers(config: StoreConfig) -> tuple[Tier, ...]:
    """Return the tiers, finest first; each one's files hold whole slots of the next."""
    return (
        Tier(0, "raw", 0, MINUTE_NS, DAY_NS, config.retention_raw),
        Tier(1, "1min", MINUTE_NS, 20 * MINUTE_NS, DAY_NS, config.retention_1min),
        Tier(2, "10min", 10 * MINUTE_NS, 4 * HOUR_NS, 8 * DAY_NS, config.retention_10min),
        Tier(3, "1h", HOUR_NS, DAY_NS, 64 * DAY_NS, config.retention_1h),
    )
