"""Where each stream of a counter began, kept on disk so that a restart goes on with it.

One file a destination: records of 32 bytes, little-endian, appended and synced before the
cursor moves. A record: device (i4), domain, statistic, is_root (u1 each), nothing
(u1), epoch (u4), start in ns since 1970 (i8), base in µJ (u8), CRC-32 of these 28 bytes (u4).
What stands behind the first record that is torn or damaged is cut off; its streams begin
anew, with a later start.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from chipwatt.core.errors import StoreError

_RECORD: Final = struct.Struct("<iBBBxIqQ")
_CRC: Final = struct.Struct("<I")
_SIZE: Final = _RECORD.size + _CRC.size


class Began(NamedTuple):
    """The beginning of one unbroken run of points of a counter."""

    device: int
    domain: int
    statistic: int
    is_root: int
    epoch: int
    start_unix_ns: int
    base_uj: int
    """The counter as it stood there."""


class StreamBook:
    """The file; made, with its directory, where it does not exist."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Began]:
        """Return what was kept, in the order in which it was. Raises StoreError."""
        try:
            data = self._path.read_bytes() if self._path.exists() else b""
            found = []
            for at in range(0, len(data) - _SIZE + 1, _SIZE):
                record = data[at : at + _RECORD.size]
                if _CRC.unpack_from(data, at + _RECORD.size) != (zlib.crc32(record),):
                    break
                found.append(Began._make(_RECORD.unpack(record)))
            if len(found) * _SIZE != len(data):
                os.truncate(self._path, len(found) * _SIZE)
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be read: {error.strerror}") from None
        return found

    def keep(self, streams: Iterable[Began]) -> None:
        """Append streams; on return they survive a power cut. Raises StoreError."""
        records = [_RECORD.pack(*stream) for stream in streams]
        if not records:
            return
        data = b"".join(record + _CRC.pack(zlib.crc32(record)) for record in records)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                # A write that failed halfway must not put all that follows out of step.
                file.truncate(file.tell() // _SIZE * _SIZE)
                file.seek(0, os.SEEK_END)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be written: {error.strerror}") from None
