"""Rows as one compressed block of fixed-width integers, and back.

A block is one zstd frame with a checksum. In it: ``<B format 1> <B kind>
<Q bitmap of column ids> <I rows>``; ``owners`` (u32); the fixed columns that
the bitmap names, by width (8, 4, 2, 1 bytes) and then by id; the ragged columns
by id. Clocks and cumulative energies are differences from the row
before, modulo 2^64. Everything wider than a byte is laid out byte plane by
byte plane, which is what makes zstd see that high bytes seldom change.
"""

from __future__ import annotations

import struct
import threading
from functools import cache

import numpy as np
import zstandard

from chipwatt.core.columns import COLUMNS, ColumnSpec, SectionKind
from chipwatt.core.rows import Rows
from chipwatt.core.tables import FILLED, Array, Table, filled

FORMAT = 1
_HEAD = struct.Struct("<BBQI")
_DIFFERENCED = frozenset({"start_unix_ns", "start_mono_ns", "cumulative_uj"})
_MAX_PLAIN_BYTES = 1 << 30
_codecs = threading.local()


class BlockDamaged(Exception):
    """The bytes are not a block that was written here."""


def encode(rows: Rows) -> bytes:
    """Return the rows as a block."""
    layout = _layout(rows.kind, _all_columns(rows.kind))
    pieces = [_planes(rows.owners.astype("<u4", copy=False).reshape(1, -1))]
    for width, specs in layout.fixed:
        stacked = np.empty((len(specs), len(rows)), dtype=f"<u{width}")
        for position, spec in enumerate(specs):
            column = rows.table.columns[spec.name].view(f"<u{width}")
            if spec.name in _DIFFERENCED and len(rows):
                stacked[position, 0] = column[0]
                np.subtract(column[1:], column[:-1], out=stacked[position, 1:])
            else:
                stacked[position] = column
        pieces.append(_planes(stacked))
    pieces += [_planes(rows.table.columns[spec.name].reshape(1, -1)) for spec in layout.ragged]
    head = _HEAD.pack(FORMAT, rows.kind, _all_columns(rows.kind), len(rows))
    return _compressor().compress(b"".join((head, *pieces)))


def decode(data: bytes) -> Rows:
    """Return the rows of a block; a column that it lacks comes back absent, or at its least value.

    Raises BlockDamaged.
    """
    try:
        return _decode(data)
    except (struct.error, ValueError, KeyError, zstandard.ZstdError) as error:
        raise BlockDamaged(str(error)) from None


def _decode(data: bytes) -> Rows:
    if not 0 <= zstandard.frame_content_size(data) <= _MAX_PLAIN_BYTES:
        raise ValueError("block says an impossible length")
    plain = _decompressor().decompress(data, allow_extra_data=False)
    form, kind_number, bitmap, count = _HEAD.unpack_from(plain)
    if form != FORMAT:
        raise ValueError(f"block format {form} is not known")
    kind = SectionKind(kind_number)
    layout = _layout(kind, bitmap)
    owners = _values(plain, _HEAD.size, 4, 1, count)[0]
    at = _HEAD.size + 4 * count
    columns: dict[str, Array] = {}
    for width, specs in layout.fixed:
        stacked = _values(plain, at, width, len(specs), count)
        at += width * len(specs) * count
        for spec, column in zip(specs, stacked, strict=True):
            if spec.name in _DIFFERENCED:
                np.cumsum(column, out=column)
            columns[spec.name] = column.view(spec.dtype)
    for spec in layout.ragged:
        length = int(columns[spec.ragged_by].sum(dtype=np.int64))
        columns[spec.name] = _values(plain, at, spec.width, 1, length)[0].view(spec.dtype)
        at += spec.width * length
    if at != len(plain):
        raise ValueError(f"{len(plain)} bytes where {at} were expected")
    _complete(kind, count, columns)
    return Rows(owners, Table(kind, count, columns))


def _complete(kind: SectionKind, count: int, columns: dict[str, Array]) -> None:
    """Add the columns that came after the block was written."""
    for spec in COLUMNS[kind]:
        if spec.name in columns:
            continue
        if spec.name == FILLED:
            columns[spec.name] = filled(count, columns)
        else:
            columns[spec.name] = np.full(
                0 if spec.ragged_by else count,
                spec.absent_value if spec.absent else max(spec.low, 0),
                dtype=spec.dtype,
            )


def _planes(stacked: Array) -> bytes:
    """Return a (columns, rows) array byte plane by byte plane."""
    columns, count = stacked.shape
    width = stacked.dtype.itemsize
    if width == 1:
        return stacked.tobytes()
    as_bytes = np.ascontiguousarray(stacked).view("u1").reshape(columns, count, width)
    return as_bytes.transpose(0, 2, 1).tobytes()


def _values(plain: bytes, at: int, width: int, columns: int, count: int) -> Array:
    """Return the (columns, rows) array whose planes begin at ``at``."""
    flat = np.frombuffer(plain, "u1", columns * width * count, at)
    planes = flat.reshape(columns, width, count)
    whole = planes.transpose(0, 2, 1).copy()
    return whole.reshape(columns, count * width).view(f"<u{width}")


class _Layout:
    """Which columns a block has, in the order of its bytes."""

    def __init__(self, specs: list[ColumnSpec]) -> None:
        self.fixed = [
            (width, [spec for spec in specs if spec.width == width and not spec.ragged_by])
            for width in (8, 4, 2, 1)
        ]
        self.fixed = [(width, of_width) for width, of_width in self.fixed if of_width]
        self.ragged = [spec for spec in specs if spec.ragged_by]


@cache
def _layout(kind: SectionKind, bitmap: int) -> _Layout:
    specs = [s for s in COLUMNS[kind] if s.name != "device" and bitmap >> s.id & 1]
    return _Layout(sorted(specs, key=lambda spec: spec.id))


@cache
def _all_columns(kind: SectionKind) -> int:
    return sum(1 << spec.id for spec in COLUMNS[kind] if spec.name != "device")


def _compressor() -> zstandard.ZstdCompressor:
    if not hasattr(_codecs, "compressor"):
        _codecs.compressor = zstandard.ZstdCompressor(level=1, write_checksum=True)
    compressor: zstandard.ZstdCompressor = _codecs.compressor
    return compressor


def _decompressor() -> zstandard.ZstdDecompressor:
    if not hasattr(_codecs, "decompressor"):
        _codecs.decompressor = zstandard.ZstdDecompressor()
    decompressor: zstandard.ZstdDecompressor = _codecs.decompressor
    return decompressor
