"""The spool's directory: its lock, its cursor, and what a restart finds in it."""

from __future__ import annotations

import fcntl
import os
import re
import stat
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from chipwatt.agent.spool import segment as segments
from chipwatt.agent.spool import settled
from chipwatt.agent.spool.damage import same_epoch
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
_ONLY_NAMES = ("lock", "cursor", "cursor.new", settled.NAME, f"{settled.NAME}.new")
_DIGITS = re.compile("[0-9]{8,19}")
_MOST_NUMBER = (1 << 63) - 1
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
    forgets: bool = False
    """Whether records behind ``last`` may be at a collector: nothing resumes from its memory."""
    aside: dict[int, int] = field(default_factory=dict)
    """Numbers of segments that were set aside, and how many records lay in each."""

    @property
    def lost(self) -> int:
        """Records in segments that were set aside, beside those that ``Segment.lost`` counts."""
        return sum(self.aside.values())

    @property
    def newest_place(self) -> Position:
        """Where the newest good record ends."""
        holder = next((segment for segment in reversed(self.segments) if len(segment)), None)
        return Position(holder.header.number, holder.last_end) if holder else START


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
    marks: list[Path] = []
    for path in _own_files(found, directory):
        if path.suffix == SUFFIX and int(path.stem) <= replaced:
            path.unlink()  # the process ended before it did
        elif path.suffix == SUFFIX:
            replaced = _add_segment(found, path)
            found.highest_number = max(found.highest_number, replaced)
        elif path.name == MERGING:
            path.unlink()
        elif path.suffix == SENT:
            marks.append(path)
    in_doubt = _scan_all(found)
    held = {segment.mark for segment in found.segments}
    _read_marks(found, [mark for mark in marks if mark not in held])
    if not found.forgets and (in_doubt or found.cursor > found.newest_place):
        _forget(found, directory)
    if found.segments:
        found.torn = _cut_tail(found.segments[-1])
    _check_cursor(found)
    return found


def _own_files(found: Found, directory: Path) -> list[Path]:
    """Return the spool's files in the order of their numbers; says which others are there."""
    files: list[tuple[int, Path]] = []
    others: list[str] = []
    for path in sorted(directory.iterdir()):
        if path.name in _ONLY_NAMES:
            continue
        number = _number(path)
        if number is not None:
            found.highest_number = max(found.highest_number, number)
        if stat.S_ISREG(path.lstat().st_mode) and (number is not None or path.name == MERGING):
            files.append((number or 0, path))
        else:
            others.append(path.name)
    if others:
        _log.warning("not the spool's, left alone", directory=directory, names=others[:16])
    return [path for _, path in sorted(files)]


def _number(path: Path) -> int | None:
    """Return the number of a segment that a file's name says; None where it says none."""
    if path.suffix not in (SUFFIX, SENT, DAMAGED) or not _DIGITS.fullmatch(path.stem):
        return None
    number = int(path.stem)
    return number if number <= _MOST_NUMBER else None


def _read_marks(found: Found, marks: list[Path]) -> None:
    """Look at marks of segments that are gone; those of old ones are deleted."""
    for mark in marks:
        if int(mark.stem) > found.newest_place.segment:
            found.forgets = True
        else:
            mark.unlink()


def _forget(found: Found, directory: Path) -> None:
    """Note that what followed the newest record may be at a collector: a mark of no segment.

    It needs no fsync: after a power cut the boot is another, and nothing is resumed from.
    """
    found.forgets = True
    if not found.segments:
        return
    found.highest_number += 1
    (directory / f"{found.highest_number:08d}{SENT}").touch(0o600)
    _log.error(
        "records that may have been sent are gone from the spool's end; a gap stands for them",
        directory=directory,
    )


def _check_cursor(found: Found) -> None:
    """Distrust a cursor that points between no two records: reading again is harmless (S7)."""
    cursor = found.cursor
    if not found.segments or cursor.segment < found.segments[0].header.number:
        return
    if not any(
        cursor.segment == segment.header.number
        and (cursor.offset in segment.ends or cursor.offset in segment.starts)
        for segment in found.segments
    ):
        _log.warning("the spool's cursor points at no record; what is spooled is sent again")
        found.cursor = START


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


def mark_sent(segment: Segment, sync: Sync) -> None:
    """Note durably that records of it may be at a collector (S9)."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    os.close(os.open(segment.mark, flags, 0o600))
    sync_directory(segment.path.parent, sync)


def write_cursor(directory: Path, position: Position) -> None:
    """Replace the cursor; S7 is why it needs no fsync."""
    scratch = directory / "cursor.new"
    scratch.write_bytes(pack_cursor(position))
    scratch.replace(directory / "cursor")


def _read_cursor(directory: Path) -> Position:
    path = directory / "cursor"
    try:
        data = path.read_bytes() if stat.S_ISREG(path.lstat().st_mode) else b""
    except FileNotFoundError:
        return START
    position = unpack_cursor(data[:CURSOR_BYTES])
    if position is None or position.segment > _MOST_NUMBER:
        _log.warning("the spool's cursor is damaged; what is spooled will be sent again")
        return START
    return position


def _add_segment(found: Found, path: Path) -> int:
    """Add a segment or set it aside; returns the last number that it stands for."""
    try:
        header = segments.read_header(path)
        data = b"" if header is not None else path.read_bytes()
    except OSError as error:
        _set_aside(found, path, 1, error)
        return 0
    if header is not None and header.number == int(path.stem):
        sent = path.with_suffix(SENT).exists() or header.number <= found.cursor.segment
        found.segments.append(Segment(path, header, sent=sent))
        return header.last_number
    lost = data.count(FRAME_MAGIC)
    if not lost and len(data) <= SEGMENT_HEADER_BYTES:  # the process ended while it made it
        path.unlink()
        return 0
    _set_aside(found, path, lost)
    return 0


def _set_aside(found: Found, path: Path, lost: int, error: OSError | None = None) -> None:
    """Rename a segment so that it is not read again; raises an error that may pass."""
    if error is not None and not segments.is_damage(error):
        raise error
    path.rename(path.with_suffix(DAMAGED))
    found.aside[int(path.stem)] = lost
    reason = error.strerror if error is not None else "no readable header"
    _log.error("spool segment set aside", path=path, reason=reason, records_lost=lost)


def _scan_all(found: Found) -> bool:
    """Read all segments; returns whether records behind the newest good one may have been sent."""
    in_doubt = False
    for segment, after in zip_longest(list(found.segments), found.segments[1:]):
        header = segment.header
        follows = after is not None and after.header.number == header.last_number + 1
        # A merged segment was whole before it had its name; what follows tells of the old one.
        bounded = after is not None and follows and not header.resolution_ns
        limit = after.header.previous_end if after is not None and bounded else None
        try:
            found.last = segment.scan(limit) or found.last
        except OSError as error:
            in_doubt = in_doubt or segment.sent
            known = after is not None and same_epoch(segment, after)
            end = after.header.first_sequence if after is not None and known else 0
            _set_aside(found, segment.path, max(1, end - header.first_sequence), error)
            found.segments.remove(segment)
            continue
        missing = segment.lost_at_end
        if after is not None and same_epoch(segment, after):
            missing = max(0, after.header.first_sequence - segment.next_sequence)
            for number in [n for n in found.aside if header.number < n < after.header.number]:
                del found.aside[number]  # counted by their sequences
        segment.lost += missing
        in_doubt = bool(missing and segment.sent) or (in_doubt and not len(segment))
        if segment.lost:
            _log.error("damaged records in the spool", path=segment.path, records_lost=segment.lost)
    return in_doubt


def _cut_tail(segment: Segment) -> bool:
    """Cut what follows the newest good record; returns whether the end was not where it belongs."""
    size = segment.path.stat().st_size
    if size <= segment.end:
        return size < segment.end  # not even the header is all there
    os.truncate(segment.path, segment.end)
    _log.warning("torn tail of the spool cut", path=segment.path, bytes_cut=size - segment.end)
    return True
