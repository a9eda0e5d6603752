"""What the collector has, in a small file: so what is lost before all segments shows.

A segment tells what is missing between it and the one before it. Of the oldest one only
this file knows what came before: the key of the newest settled record, and the memory
after it, from which the gap's lines and energy follow. It is durable before a segment is
deleted; else it may be older than the truth, and a gap then gets a key that the
collector has. Replaced by rename::

    8s  magic "CWSETTL1"
    16s boot id
    Q   spool epoch; 0: nothing is settled yet
    Q   sequence
    Q   monotonic clock in ns when the spool was made, where nothing is settled yet; else 0
    I   bytes of memory
    I   CRC of all that is before and behind it
        the memory
"""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from chipwatt.agent.spool.record import Position, SegmentHeader
from chipwatt.agent.spool.segment import Segment
from chipwatt.core import log
from chipwatt.core.durable import Sync, sync_directory

NAME = "settled"
_MAGIC = b"CWSETTL1"
_HEAD = struct.Struct("<8s16sQQQI")
_CRC = struct.Struct("<I")
_log = log.get(__name__)


class Settled(NamedTuple):
    """The newest record that the collector has."""

    boot_id: bytes
    epoch: int
    sequence: int
    since_mono_ns: int
    memory: bytes

    def next_sequence(self, header: SegmentHeader) -> int:
        """Return the first sequence of a segment's epoch that is not settled."""
        mine = (header.boot_id, header.epoch) == (self.boot_id, self.epoch)
        return self.sequence + 1 if mine else 1

    @property
    def stood(self) -> bytes:
        """Where each line stood then, for the merging process."""
        return self.since_mono_ns.to_bytes(8, "little") + self.memory

    def pack(self) -> bytes:
        """Return the whole file."""
        head = _HEAD.pack(_MAGIC, *self[:4], len(self.memory))
        return head + _CRC.pack(zlib.crc32(self.memory, zlib.crc32(head))) + self.memory

    @classmethod
    def unpack(cls, data: bytes) -> Settled | None:
        """Read a file; None where it is not whole."""
        head, memory = data[: _HEAD.size], data[_HEAD.size + _CRC.size :]
        crc = data[_HEAD.size : _HEAD.size + _CRC.size]
        if len(crc) < _CRC.size or _CRC.unpack(crc)[0] != zlib.crc32(memory, zlib.crc32(head)):
            return None
        magic, boot_id, epoch, sequence, since_mono_ns, size = _HEAD.unpack(head)
        if magic != _MAGIC or size != len(memory):
            return None
        return cls(boot_id, epoch, sequence, since_mono_ns, memory)


def at_start(directory: Path, boot_id: bytes, *, is_new: bool) -> Settled | None:
    """Return what is settled in a spool, made if it ``is_new``; None where nobody knows."""
    path = directory / NAME
    try:
        if path.is_file():
            return Settled.unpack(path.read_bytes())
        if is_new:
            made = Settled(boot_id, 0, 0, time.monotonic_ns(), b"")
            write(directory, made)
            return made
    except OSError as error:
        _log.warning("what is settled is not known", path=path, reason=error.strerror)
    return None


def newest(segments: Sequence[Segment], cursor: Position) -> Settled | None:
    """Return what the record before the cursor tells; None where it cannot be read."""
    for segment in segments:
        if segment.header.number == cursor.segment:
            index = segment.index_after(cursor.offset) - 1
            record = segment.record(index) if index >= 0 else None
            if record is None:
                return None
            header = segment.header
            return Settled(header.boot_id, header.epoch, record.sequence, 0, record.memory)
    return None


def write(directory: Path, settled: Settled, sync: Sync | None = None) -> None:
    """Replace the file, durably where there is a ``sync``. Raises OSError."""
    scratch = directory / f"{NAME}.new"
    with scratch.open("wb") as file:
        file.write(settled.pack())
        file.flush()
        if sync is not None:
            sync(file.fileno())
    scratch.replace(directory / NAME)
    if sync is not None:
        sync_directory(directory, sync)
