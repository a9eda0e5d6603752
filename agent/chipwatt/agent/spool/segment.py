"""One segment of the spool: made, appended to, scanned, cut back to its last good record."""

from __future__ import annotations

import errno
import os
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

from chipwatt.agent.spool.record import (
    SEGMENT_HEADER_BYTES,
    Frame,
    Record,
    SegmentHeader,
    begun,
    pack_frame,
    scan,
    unpack_frame,
)
from chipwatt.core.durable import Sync, sync_directory

SUFFIX = ".seg"
SENT = ".sent"
"""Of the mark beside a segment any of whose records may be at a collector."""
_DAMAGE = (errno.EIO, errno.ENOENT, errno.ESTALE, errno.ENODATA, errno.EUCLEAN, errno.EBADMSG)
"""What reading says of bytes that will not come back; anything else may pass."""


class Segment:
    """A file of frames and where in it the good ones lie.

    Methods raise OSError as the file system does.
    """

    def __init__(self, path: Path, header: SegmentHeader, *, sent: bool = False) -> None:
        self.path = path
        self.header = header
        self.sent = sent
        """Whether a record of it may have left this host: then it is never merged."""
        self.end = SEGMENT_HEADER_BYTES
        """Where the next frame goes; what lies beyond is no record."""
        self.next_sequence = header.first_sequence
        self.lost = 0
        """Records known to have been here that cannot be read."""
        self.lost_at_end = 0
        """Records that seem to have begun behind the last good one, as ``scan`` found it."""
        self.trouble = ""
        """Why some of it could not be read; empty where all of it could."""
        self.starts = array("Q")
        self.ends = array("Q")
        self.firsts = array("Q")
        """First sequence that each record stands for."""
        self.lasts = array("Q")
        self.unix_ns = array("Q")
        """When each record, or the first that it stands for, was appended."""

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def last_end(self) -> int:
        """End of the last good record; 0 where there is none."""
        return self.ends[-1] if self.ends else 0

    @property
    def mark(self) -> Path:
        """The file whose presence says ``sent``."""
        return self.path.with_suffix(SENT)

    def index_after(self, offset: int) -> int:
        """Return the index of the first record that ends after ``offset``."""
        return bisect_right(self.ends, offset)

    def after(self, offset: int) -> int:
        """Return how many records end after ``offset``."""
        return len(self) - self.index_after(offset)

    def expected(self, index: int) -> int:
        """Return the sequence with which record ``index`` would begin if none before it is lost."""
        return self.lasts[index - 1] + 1 if index else self.header.first_sequence

    def frames(self, first: int, max_bytes: int) -> list[Frame]:
        """Read records from index ``first`` on: one, then up to ``max_bytes`` or a lost one.

        Fewer, even none, where bytes have changed: those that cannot be read
        are no longer among the segment's records, and count as ``lost``. So do
        those that the disk does not give back, or that somebody deleted.
        """
        while first < len(self):
            try:
                return self._frames(first, max_bytes)
            except OSError as error:
                if not is_damage(error):
                    raise
                self.trouble = error.strerror or str(error)
                if max_bytes:
                    max_bytes = 0  # one at a time: the others may be readable
                else:
                    self._lose(first)
        return []

    def _frames(self, first: int, max_bytes: int) -> list[Frame]:
        last = max(first, bisect_right(self.ends, self.starts[first] + max_bytes) - 1)
        base = self.starts[first]
        with self.path.open("rb") as file:
            file.seek(base)
            data = file.read(self.ends[last] - base)
        good: list[Frame] = []
        for index in range(first, last + 1):
            if good and self.firsts[index] != self.expected(index):
                break
            frame = unpack_frame(self.header.seed, data, self.starts[index] - base)
            if frame is None:
                self._lose(index)
                break
            good.append(frame._replace(start=frame.start + base, end=frame.end + base))
        return good

    def record(self, index: int) -> Record | None:
        """Read one record; None where its bytes have changed or are gone."""
        size = self.ends[index] - self.starts[index]
        try:
            with self.path.open("rb") as file:
                file.seek(self.starts[index])
                frame = unpack_frame(self.header.seed, file.read(size))
        except OSError as error:
            if not is_damage(error):
                raise
            return None
        return frame.record if frame is not None else None

    def append(self, descriptor: int, records: Sequence[Record]) -> list[int]:
        """Write records behind the end; they count once ``take`` is told the sizes returned."""
        frames = [pack_frame(self.header.seed, record) for record in records]
        write(descriptor, b"".join(frames), self.end)
        return [len(frame) for frame in frames]

    def take(self, records: Sequence[Record], sizes: Sequence[int]) -> None:
        """Count records of these frame sizes as standing at the segment's end."""
        for record, size in zip(records, sizes, strict=True):
            self._add(record, self.end, self.end + size)
            self.end += size

    def delete(self) -> None:
        """Delete the file, then its mark: what is there is never without the mark it needs."""
        self.path.unlink(missing_ok=True)
        self.mark.unlink(missing_ok=True)

    def scan(self, limit: int | None) -> Frame | None:
        """Find the records, up to ``limit`` bytes, in a file that was just opened.

        Leaves ``end`` behind the last good record. Returns that record.
        """
        data = self.path.read_bytes()[:limit]
        last: Frame | None = None
        for found in scan(self.header.seed, data, SEGMENT_HEADER_BYTES):
            if isinstance(found, Frame):
                self.lost += found.record.first_sequence - self.next_sequence
                self._add(found.record, found.start, found.end)
                last = found
            elif found.end == len(data):
                self.lost_at_end = begun(self.header.seed, data, found)
        self.end = self.last_end or SEGMENT_HEADER_BYTES
        return last

    def _add(self, record: Record, start: int, end: int) -> None:
        self.starts.append(start)
        self.ends.append(end)
        self.firsts.append(record.first_sequence)
        self.lasts.append(record.sequence)
        self.unix_ns.append(record.unix_ns)
        self.next_sequence = record.sequence + 1

    def _lose(self, index: int) -> None:
        self.lost += self.lasts[index] - self.firsts[index] + 1
        for column in (self.starts, self.ends, self.firsts, self.lasts, self.unix_ns):
            del column[index]


def is_damage(error: OSError) -> bool:
    """Return whether what could not be read is lost, rather than refused for now."""
    return error.errno in _DAMAGE


def create(
    directory: Path, header: SegmentHeader, sync: Sync, *, name: str = ""
) -> tuple[Segment, int]:
    """Make a segment, durable by name and content; returns it and its descriptor to write to."""
    path = directory / (name or f"{header.number:08d}{SUFFIX}")
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        write(descriptor, header.pack(), 0)
        sync(descriptor)
        sync_directory(directory, sync)
    except OSError:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        raise
    return Segment(path, header), descriptor


def write(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of ``data`` at ``offset``."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written


def read_header(path: Path) -> SegmentHeader | None:
    """Return the header of a segment file; None where no copy of it is whole."""
    with path.open("rb") as file:
        return SegmentHeader.unpack(file.read(SEGMENT_HEADER_BYTES))
