"""What the spool takes and gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from chipwatt.agent.spool.record import Position, Record, SegmentHeader
from chipwatt.core.settings import Size

_QUOTA = Size(256 << 20)
_SEGMENT = Size(1 << 20)


@dataclass(frozen=True, slots=True)
class SpoolConfig:
    """``[spool]``."""

    quota: Size = _QUOTA
    """Most bytes on disk. Over it the oldest windows are merged: time resolution is lost, energy
    stays exact. A host with 8 GPUs writes some 100 MiB a day."""
    segment: Size = _SEGMENT
    """Bytes after which a new segment file is begun; at most a quarter of the quota."""

    def __post_init__(self) -> None:
        if self.segment < 4096:
            raise ValueError("segment is at least 4KiB")
        if self.segment * 4 > self.quota:
            raise ValueError("quota is at least four times segment")


class Merging(Protocol):
    """Who looks into payloads, which the spool does not."""

    @property
    def cpu_ms(self) -> int:
        """CPU time in child processes so far."""
        ...

    def coarser(self, payloads: Sequence[bytes], resolution_ns: int) -> list[tuple[int, bytes]]:
        """Return fewer payloads, each with how many consecutive ones it stands for.

        Raises MergeFailed.
        """
        ...

    def gap(self, before: Sequence[bytes], after: Sequence[bytes], stood: bytes = b"") -> bytes:
        """Return a payload that says what is missing between these. Raises MergeFailed.

        ``stood``: instead of ``before``, where each line stood, as ``Settled.stood`` has it.
        """
        ...


class Spooled(NamedTuple):
    """A record as it was read: its key, its payload, and the position behind it."""

    boot_id: bytes
    epoch: int
    sequence: int
    payload: bytes
    position: Position
    records: int = 1
    """How many it stands for: the sequences up to and with ``sequence``."""

    @classmethod
    def of(cls, header: SegmentHeader, record: Record, end: int) -> Spooled:
        """Return a record of that segment; what is behind it begins at ``end``."""
        position = Position(header.number, end)
        sequence, payload, records = record.sequence, record.payload, record.records
        return cls(header.boot_id, header.epoch, sequence, payload, position, records)


@dataclass(frozen=True, slots=True)
class SpoolCounts:
    """What is in the spool, and what became of records since it was opened."""

    records: int = 0
    bytes: int = 0
    first_sequence: int = 0
    """Of the oldest record on disk, in its own epoch; 0 where there is none."""
    last_sequence: int = 0
    unacked: int = 0
    oldest_unix_ns: int = 0
    """When the oldest unacked record was appended, by the wall clock; 0 where there is none."""
    coarsest_ns: int = 0
    """Coarsest resolution that records on disk were merged to; 0 where none were."""
    appended: int = 0
    appended_bytes: int = 0
    """Of payloads."""
    refused: int = 0
    """Attempts to append that the disk refused."""
    merged: int = 0
    """Records that became part of coarser ones: by how many there are fewer."""
    dropped: int = 0
    """Unacked records given up since the quota was full and none of them could be merged."""
    damaged: int = 0
    """Records lost to damage of the disk's content."""
    epochs: int = 0
    """Epochs that this process began."""
