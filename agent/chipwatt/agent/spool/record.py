"""Frames and headers of the spool as bytes; what they look like stands in the package docstring."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

SEGMENT_MAGIC = b"CWSPOOL1"
FRAME_MAGIC = b"CWR\xb1"
CURSOR_MAGIC = b"CWCURS01"
_SEGMENT = struct.Struct("<8sQQ16sQQQQ")
_FRAME = struct.Struct("<4sIIIQQI")
_CURSOR = struct.Struct("<8sQQ")
_CRC = struct.Struct("<I")

_COPY_BYTES = 80
SEGMENT_HEADER_BYTES = 2 * _COPY_BYTES
"""Both copies."""
FRAME_HEADER_BYTES = _FRAME.size + _CRC.size
CURSOR_BYTES = 32


class Position(NamedTuple):
    """A place between two records; positions compare in spool order."""

    segment: int
    offset: int


START = Position(0, 0)
"""Before every record."""


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What a segment's records have in common."""

    number: int
    boot_id: bytes
    epoch: int
    first_sequence: int
    previous_end: int
    """Where the segment before this one ends, in bytes; 0 where there is none."""
    last_number: int
    """Of the segments that this one replaces; its own number where it replaces none."""
    resolution_ns: int = 0
    """Of its records since they were merged; 0 as they were made."""

    @property
    def kin(self) -> tuple[bytes, int, int]:
        """What segments must share to be merged with one another."""
        return (self.boot_id, self.epoch, self.resolution_ns)

    @property
    def seed(self) -> int:
        """Where the CRC of a frame's header begins: nothing but this epoch's frames fits it."""
        return zlib.crc32(self.epoch.to_bytes(8, "little"))

    def pack(self) -> bytes:
        """Return both copies."""
        plain = _SEGMENT.pack(
            SEGMENT_MAGIC,
            self.number,
            self.last_number,
            self.boot_id,
            self.epoch,
            self.first_sequence,
            self.previous_end,
            self.resolution_ns,
        )
        return 2 * _sealed(plain, _COPY_BYTES)

    @classmethod
    def unpack(cls, data: bytes) -> SegmentHeader | None:
        """Read whichever copy is whole; None where neither is."""
        for copy in (data[:_COPY_BYTES], data[_COPY_BYTES:SEGMENT_HEADER_BYTES]):
            if (plain := _unsealed(copy, _COPY_BYTES, _SEGMENT.size)) is not None:
                magic, number, last, boot_id, epoch, first, end, resolution = _SEGMENT.unpack(plain)
                if magic == SEGMENT_MAGIC:
                    return cls(number, boot_id, epoch, first, end, last, resolution)
        return None


class Record(NamedTuple):
    """What a frame holds."""

    sequence: int
    """Of the last record that it stands for."""
    records: int
    """How many it stands for: itself alone, or those that were merged into it."""
    unix_ns: int
    """When the first of them was appended."""
    payload: bytes
    memory: bytes

    @property
    def first_sequence(self) -> int:
        """Of the first record that it stands for."""
        return self.sequence - self.records + 1


class Frame(NamedTuple):
    """One good record at ``start`` (of its header) to ``end`` in the bytes that were scanned."""

    record: Record
    start: int
    end: int


class Hole(NamedTuple):
    """Bytes in which no good record begins."""

    start: int
    end: int


def pack_frame(seed: int, record: Record) -> bytes:
    """Return one record as it stands in a segment whose header gives ``seed``."""
    plain = _FRAME.pack(
        FRAME_MAGIC,
        len(record.payload),
        len(record.memory),
        record.records,
        record.sequence,
        record.unix_ns,
        zlib.crc32(record.memory, zlib.crc32(record.payload)),
    )
    return plain + _CRC.pack(zlib.crc32(plain, seed)) + record.payload + record.memory


def unpack_frame(seed: int, data: bytes, start: int = 0) -> Frame | None:
    """Read the record whose header begins at ``start``; None where it is not whole."""
    header = _frame_header(seed, data, start)
    if header is None:
        return None
    payload_bytes, memory_bytes, records, sequence, unix_ns, body_crc = header
    middle = start + FRAME_HEADER_BYTES + payload_bytes
    end = middle + memory_bytes
    payload, memory = data[start + FRAME_HEADER_BYTES : middle], data[middle:end]
    if end > len(data) or zlib.crc32(memory, zlib.crc32(payload)) != body_crc:
        return None
    return Frame(Record(sequence, records, unix_ns, payload, memory), start, end)


def scan(seed: int, data: bytes, start: int) -> Iterator[Frame | Hole]:
    """Yield what lies in ``data`` from ``start`` on; frames and holes together cover it."""
    hole_start = start
    at = start
    last_sequence = 0
    while at < len(data):
        frame = unpack_frame(seed, data, at)
        if frame is not None and frame.record.first_sequence > last_sequence:
            if hole_start < at:
                yield Hole(hole_start, at)
            yield frame
            last_sequence = frame.record.sequence
            at = hole_start = frame.end
        else:
            at = _next_candidate(seed, data, at)
    if hole_start < len(data):
        yield Hole(hole_start, len(data))


def begun(seed: int, data: bytes, hole: Hole) -> int:
    """Return how many records began in a hole, as far as its bytes tell: at least one."""
    count, at = 0, hole.start
    while at < hole.end:
        count += 1
        at = _next_candidate(seed, data, at)
        while at < hole.end and _frame_header(seed, data, at) is None:
            at = _next_candidate(seed, data, at)
    return count


def pack_cursor(position: Position) -> bytes:
    """Return the whole cursor file."""
    return _sealed(_CURSOR.pack(CURSOR_MAGIC, *position), CURSOR_BYTES)


def unpack_cursor(data: bytes) -> Position | None:
    """Read a cursor file; None where it is not whole."""
    plain = _unsealed(data, CURSOR_BYTES, _CURSOR.size)
    if plain is None:
        return None
    magic, segment, offset = _CURSOR.unpack(plain)
    return Position(segment, offset) if magic == CURSOR_MAGIC else None


def _frame_header(seed: int, data: bytes, start: int) -> tuple[int, int, int, int, int, int] | None:
    plain = data[start : start + _FRAME.size]
    crc = data[start + _FRAME.size : start + FRAME_HEADER_BYTES]
    if len(crc) < _CRC.size or _CRC.unpack(crc)[0] != zlib.crc32(plain, seed):
        return None
    magic, *header = _FRAME.unpack(plain)
    if magic != FRAME_MAGIC:
        return None
    payload_bytes, memory_bytes, records, sequence, unix_ns, body_crc = header
    return payload_bytes, memory_bytes, records, sequence, unix_ns, body_crc


def _next_candidate(seed: int, data: bytes, at: int) -> int:
    """Return where the next frame may begin after the bad one at ``at``."""
    header = _frame_header(seed, data, at)
    if header is not None:  # a good header of a bad body: its length can be believed
        behind = at + FRAME_HEADER_BYTES + header[0] + header[1]
        if behind >= len(data) or _frame_header(seed, data, behind) is not None:
            return min(behind, len(data))
    found = data.find(FRAME_MAGIC, at + 1)
    return len(data) if found < 0 else found


def _sealed(plain: bytes, size: int) -> bytes:
    return (plain + _CRC.pack(zlib.crc32(plain))).ljust(size, b"\0")


def _unsealed(data: bytes, size: int, plain_bytes: int) -> bytes | None:
    plain, crc = data[:plain_bytes], data[plain_bytes : plain_bytes + _CRC.size]
    if len(data) != size or _CRC.unpack(crc)[0] != zlib.crc32(plain):
        return None
    return plain
