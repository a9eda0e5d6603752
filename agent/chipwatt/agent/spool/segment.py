"""One segment of the spool: made, appended to, scanned, cut back to its last good record."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path

from chipwatt.agent.spool.record import (
    SEGMENT_HEADER_BYTES,
    Frame,
    SegmentHeader,
    scan,
    unpack_frame,
)

SUFFIX = ".seg"
Sync = Callable[[int], None]
"""``os.fsync`` or what a test puts in its place."""


class Segment:
    """A file of frames and where in it the good ones lie.

    Methods raise OSError as the file system does.
    """

    def __init__(self, path: Path, header: SegmentHeader) -> None:
        self.path = path
        self.header = header
        self.end = SEGMENT_HEADER_BYTES
        """Where the next frame goes; what lies beyond is no record."""
        self.next_sequence = header.first_sequence
        self.lost = 0
        """Records known to have been here that cannot be read."""
        self._starts = array("Q")
        self._ends = array("Q")

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def last_end(self) -> int:
        """End of the last good record; 0 where there is none."""
        return self._ends[-1] if self._ends else 0

    def after(self, offset: int) -> int:
        """Return how many records end after ``offset``."""
        return len(self._ends) - bisect_right(self._ends, offset)

    def frames(self, offset: int, max_bytes: int) -> tuple[list[Frame], int]:
        """Read the records that end after ``offset``, at least one, then up to ``max_bytes``.

        Returns them and how many more could not be read since their bytes
        have changed; those are no longer among the segment's records.
        """
        first = bisect_right(self._ends, offset)
        if first == len(self._ends):
            return [], 0
        last = max(first, bisect_right(self._ends, self._starts[first] + max_bytes) - 1)
        base = self._starts[first]
        with self.path.open("rb") as file:
            file.seek(base)
            data = file.read(self._ends[last] - base)
        good: list[Frame] = []
        bad: list[int] = []
        for index in range(first, last + 1):
            frame = unpack_frame(self.header.seed, data, self._starts[index] - base)
            if frame is None:
                bad.append(index)
            else:
                good.append(frame._replace(start=frame.start + base, end=frame.end + base))
        for index in reversed(bad):
            del self._starts[index], self._ends[index]
        self.lost += len(bad)
        return good, len(bad)

    def take(self, sizes: list[int]) -> None:
        """Count frames as records that now stand at the segment's end."""
        for size in sizes:
            self._starts.append(self.end)
            self.end += size
            self._ends.append(self.end)
        self.next_sequence += len(sizes)

    def scan(self, limit: int | None) -> Frame | None:
        """Find the records, up to ``limit`` bytes, in a file that was just opened.

        Leaves ``end`` behind the last good record. Returns that record.
        """
        data = self.path.read_bytes()[:limit]
        last: Frame | None = None
        for found in scan(self.header.seed, data, SEGMENT_HEADER_BYTES):
            if isinstance(found, Frame):
                self.lost += found.sequence - self.next_sequence
                self.next_sequence = found.sequence + 1
                self._starts.append(found.start)
                self._ends.append(found.end)
                last = found
        self.end = self.last_end or SEGMENT_HEADER_BYTES
        return last


def create(directory: Path, header: SegmentHeader, sync: Sync) -> tuple[Segment, int]:
    """Make a segment, durable by name and content; returns it and its descriptor for ``write``."""
    path = directory / f"{header.number:08d}{SUFFIX}"
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


def sync_directory(directory: Path, sync: Sync) -> None:
    """Make the names in ``directory`` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def read_header(path: Path) -> SegmentHeader | None:
    """Return the header of a segment file; None where no copy of it is whole."""
    with path.open("rb") as file:
        return SegmentHeader.unpack(file.read(SEGMENT_HEADER_BYTES))
