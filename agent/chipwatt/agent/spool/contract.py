"""What the spool takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from chipwatt.agent.spool.record import Position
from chipwatt.core.settings import Size

_QUOTA = Size(256 << 20)
_SEGMENT = Size(1 << 20)


@dataclass(frozen=True, slots=True)
class SpoolConfig:
    """``[spool]``."""

    quota: Size = _QUOTA
    """Most bytes on disk. Over it the oldest segment goes: time resolution is lost, energy stays
    exact. A host with 8 GPUs writes some 100 MiB a day."""
    segment: Size = _SEGMENT
    """Bytes after which a new segment file is begun; at most a quarter of the quota."""

    def __post_init__(self) -> None:
        if self.segment < 4096:
            raise ValueError("segment is at least 4KiB")
        if self.segment * 4 > self.quota:
            raise ValueError("quota is at least four times segment")


class Spooled(NamedTuple):
    """A record as it was read: its key, its payload, and the position behind it."""

    boot_id: bytes
    epoch: int
    sequence: int
    payload: bytes
    position: Position


@dataclass(frozen=True, slots=True)
class SpoolCounts:
    """What is in the spool, and what it has lost since it was opened."""

    records: int = 0
    bytes: int = 0
    first_sequence: int = 0
    """Of the oldest record on disk, in its own epoch; 0 where there is none."""
    last_sequence: int = 0
    unacked: int = 0
    dropped: int = 0
    """Unacked records given up since the quota was full."""
    damaged: int = 0
    """Records lost to damage of the disk's content."""
    epochs: int = 0
    """Epochs that this process began."""
