"""The spool's directory: its lock, its cursor, and what a restart finds in it."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from chipwatt.agent.spool import segment as segments
from chipwatt.agent.spool.record import (
    CURSOR_BYTES,
    FRAME_MAGIC,
    SEGMENT_HEADER_BYTES,
    START,
    Frame,
    Position,
    pack_cursor,
    unpack_cursor,
)
from chipwatt.agent.spool.segment import SENT, SUFFIX, Segment
from chipwatt.core import log
from chipwatt.core.durable import Sync, sync_directory
from chipwatt.core.errors import SpoolError

DAMAGED = ".damaged"
MERGING = "merging"
"""A segment that is to replace others, until it is complete."""
_log = log.get(__name__)


@dataclass(slots=True)
class Found:
    """What was on the disk."""

    segments: list[Segment] = field(default_factory=list)
    last: Frame | None = None
    """The newest good record; it lies in the last segment that holds any."""
    cursor: Position = START
    highest_number: int = 0
    """Of any segment there ever was, as far as can be told."""
    torn: bool = False
    """Whether a tail had to be cut off the newest segment."""
    lost: int = 0
    """Records in segments that were set aside."""


def lock(directory: Path) -> int:
    """Make ``directory`` where there is none and take its lock; returns the descriptor to close.

    Raises SpoolError where another process holds it, OSError as the file system does.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise SpoolError(
            f"{directory}: the agent with process id {holder} is using this spool; "
            "stop it, or give this one another --state-dir"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def find(directory: Path) -> Found:
    """Read everything there is, cut a torn tail, set unreadable segments aside."""
    found = Found(cursor=_read_cursor(directory))
    found.highest_number = found.cursor.segment
    replaced = 0
    for path in sorted(directory.iterdir()):
        if path.suffix in (SUFFIX, DAMAGED) and path.stem.isdigit():
            found.highest_number = max(found.highest_number, int(path.stem))
            if path.suffix == SUFFIX and int(path.stem) <= replaced:
                path.unlink()  # the process ended before it did
            elif path.suffix == SUFFIX:
                replaced = _add_segment(found, path)
                found.highest_number = max(found.highest_number, replaced)
        elif path.name == MERGING or (
            path.suffix == SENT and not path.with_suffix(SUFFIX).exists()
        ):
            path.unlink()
    _scan_all(found)
    return found


def make_durable(found: Found, sync: Sync) -> None:
    """Make what was found durable before anybody relies on it.

    A process that was killed between write and fsync leaves a whole record that a
    power cut may still take away: sent and resumed from, it would then be counted
    twice. Only the newest segment can hold one. On a disk that does not even do
    this, it counts as torn: what comes next stands in a new epoch.
    """
    for segment in found.segments[-1:]:
        try:
            descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                sync(descriptor)
            finally:
                os.close(descriptor)
            sync_directory(segment.path.parent, sync)
        except OSError as error:
            found.torn = True
            _log.error("the spool's disk refuses to sync", path=segment.path, reason=error.strerror)


def write_cursor(directory: Path, position: Position) -> None:
    """Replace the cursor; S7 is why it needs no fsync."""
    scratch = directory / "cursor.new"
    scratch.write_bytes(pack_cursor(position))
    scratch.replace(directory / "cursor")


def _read_cursor(directory: Path) -> Position:
    try:
        data = (directory / "cursor").read_bytes()
    except FileNotFoundError:
        return START
    position = unpack_cursor(data[:CURSOR_BYTES])
    if position is None:
        _log.warning("the spool's cursor is damaged; what is spooled will be sent again")
        return START
    return position


def _add_segment(found: Found, path: Path) -> int:
    """Add a segment or set it aside; returns the last number that it stands for."""
    header = segments.read_header(path)
    if header is not None and header.number == int(path.stem):
        sent = path.with_suffix(SENT).exists() or header.number <= found.cursor.segment
        found.segments.append(Segment(path, header, sent=sent))
        return header.last_number
    data = path.read_bytes()
    lost = data.count(FRAME_MAGIC)
    if not lost and len(data) <= SEGMENT_HEADER_BYTES:  # the process ended while it made it
        path.unlink()
        return 0
    path.rename(path.with_suffix(DAMAGED))
    found.lost += lost
    _log.error("spool segment without a readable header set aside", path=path, records_lost=lost)
    return 0


def _scan_all(found: Found) -> None:
    for segment, after in zip_longest(found.segments, found.segments[1:]):
        header = segment.header
        follows = after is not None and after.header.number == header.last_number + 1
        # A merged segment was whole before it had its name; what follows tells of the old one.
        bounded = after is not None and follows and not header.resolution_ns
        limit = after.header.previous_end if after is not None and bounded else None
        found.last = segment.scan(limit) or found.last
        if after is not None and follows and after.header.epoch == header.epoch:
            segment.lost += max(0, after.header.first_sequence - segment.next_sequence)
        else:
            segment.lost += segment.lost_at_end
        if after is None:
            found.torn = _cut_tail(segment)
        if segment.lost:
            _log.error("damaged records in the spool", path=segment.path, records_lost=segment.lost)


def _cut_tail(segment: Segment) -> bool:
    """Cut what follows the newest good record; returns whether the end was not where it belongs."""
    size = segment.path.stat().st_size
    if size <= segment.end:
        return size < segment.end  # not even the header is all there
    os.truncate(segment.path, segment.end)
    _log.warning("torn tail of the spool cut", path=segment.path, bytes_cut=size - segment.end)
    return True
