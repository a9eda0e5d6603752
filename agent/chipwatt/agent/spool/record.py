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
_SEGMENT = struct.Struct("<8sQ16sQQQ")
_FRAME = struct.Struct("<4sIIQI")
_CURSOR = struct.Struct("<8sQQ")
_CRC = struct.Struct("<I")

SEGMENT_HEADER_BYTES = 2 * 64
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

    @property
    def seed(self) -> int:
        """Where the CRC of a frame's header begins: nothing but this epoch's frames fits it."""
        return zlib.crc32(self.epoch.to_bytes(8, "little"))

    def pack(self) -> bytes:
        """Return both copies."""
        plain = _SEGMENT.pack(
            SEGMENT_MAGIC,
            self.number,
            self.boot_id,
            self.epoch,
            self.first_sequence,
            self.previous_end,
        )
        return 2 * _sealed(plain, 64)

    @classmethod
    def unpack(cls, data: bytes) -> SegmentHeader | None:
        """Read whichever copy is whole; None where neither is."""
        for copy in (data[:64], data[64:SEGMENT_HEADER_BYTES]):
            if (plain := _unsealed(copy, 64, _SEGMENT.size)) is not None:
                magic, number, boot_id, epoch, first, previous_end = _SEGMENT.unpack(plain)
                if magic == SEGMENT_MAGIC:
                    return cls(number, boot_id, epoch, first, previous_end)
        return None


class Frame(NamedTuple):
    """One good record at ``start`` (of its header) to ``end`` in the bytes that were scanned."""

    sequence: int
    payload: bytes
    memory: bytes
    start: int
    end: int


class Hole(NamedTuple):
    """Bytes in which no good record begins."""

    start: int
    end: int


def pack_frame(seed: int, sequence: int, payload: bytes, memory: bytes) -> bytes:
    """Return one record as it stands in a segment whose header gives ``seed``."""
    body_crc = zlib.crc32(memory, zlib.crc32(payload))
    plain = _FRAME.pack(FRAME_MAGIC, len(payload), len(memory), sequence, body_crc)
    return plain + _CRC.pack(zlib.crc32(plain, seed)) + payload + memory


def unpack_frame(seed: int, data: bytes, start: int = 0) -> Frame | None:
    """Read the record whose header begins at ``start``; None where it is not whole."""
    header = _frame_header(seed, data, start)
    if header is None:
        return None
    payload_bytes, memory_bytes, sequence, body_crc = header
    middle = start + FRAME_HEADER_BYTES + payload_bytes
    end = middle + memory_bytes
    payload, memory = data[start + FRAME_HEADER_BYTES : middle], data[middle:end]
    if end > len(data) or zlib.crc32(memory, zlib.crc32(payload)) != body_crc:
        return None
    return Frame(sequence, payload, memory, start, end)


def scan(seed: int, data: bytes, start: int) -> Iterator[Frame | Hole]:
    """Yield what lies in ``data`` from ``start`` on; frames and holes together cover it."""
    hole_start = start
    at = start
    last_sequence = 0
    while at < len(data):
        frame = unpack_frame(seed, data, at)
        if frame is not None and frame.sequence > last_sequence:
            if hole_start < at:
                yield Hole(hole_start, at)
            yield frame
            last_sequence = frame.sequence
            at = hole_start = frame.end
        else:
            at = _next_candidate(seed, data, at)
    if hole_start < len(data):
        yield Hole(hole_start, len(data))


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


def _frame_header(seed: int, data: bytes, start: int) -> tuple[int, int, int, int] | None:
    plain = data[start : start + _FRAME.size]
    crc = data[start + _FRAME.size : start + FRAME_HEADER_BYTES]
    if len(crc) < _CRC.size or _CRC.unpack(crc)[0] != zlib.crc32(plain, seed):
        return None
    magic, payload_bytes, memory_bytes, sequence, body_crc = _FRAME.unpack(plain)
    if magic != FRAME_MAGIC:
        return None
    return payload_bytes, memory_bytes, sequence, body_crc


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
