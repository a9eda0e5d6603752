"""The spool as its users see it: append, read from a cursor, ack. See the package docstring."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from chipwatt.agent.spool import directory as directories
from chipwatt.agent.spool import segment as segments
from chipwatt.agent.spool import settled
from chipwatt.agent.spool.coarsening import Room
from chipwatt.agent.spool.contract import Merging, SpoolConfig, SpoolCounts, Spooled
from chipwatt.agent.spool.damage import gap_record, lost_before, lost_in_front
from chipwatt.agent.spool.merger import MergeFailed, Merger
from chipwatt.agent.spool.record import FRAME_HEADER_BYTES, Position, Record, SegmentHeader
from chipwatt.agent.spool.segment import Segment
from chipwatt.agent.spool.tally import Tally, unsettled
from chipwatt.core import log
from chipwatt.core.durable import Sync
from chipwatt.core.errors import SpoolError

_log = log.get(__name__)


class Spool:
    """A log of payloads on disk. Not thread-safe: one thread at a time."""

    def __init__(
        self,
        directory: Path,
        boot_id: bytes,
        config: SpoolConfig | None = None,
        sync: Sync = os.fsync,
        *,
        merging: Merging | None = None,
        unix_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Open the spool in ``directory``, made where there is none, and mend what a crash left.

        Raises SpoolError where another process has it open or the disk refuses.
        """
        self._directory = directory
        self._boot_id = boot_id
        self._config = config or SpoolConfig()
        self._sync = sync
        self.merging: Merging = merging or Merger()
        self._unix_ns = unix_ns
        self._descriptor = -1
        self._lock = -1
        try:
            self._lock = directories.lock(directory)
            found = directories.find(directory)
            directories.make_durable(found, sync)
        except OSError as error:
            self.close()
            raise self._refused("opened", error) from None
        self._segments = found.segments
        self._cursor = found.cursor
        self._number = found.highest_number
        self._settled = settled.at_start(directory, boot_id, is_new=not found.highest_number)
        lost = lost_in_front(found.segments, found.aside, self._settled)
        self._tally = Tally(lost + found.lost + sum(s.lost for s in found.segments))
        self._room = Room(directory, self._config.quota, self.merging, sync, self._tally)
        self._epoch = 0
        self.memory = b""
        """Of the newest record, where it is of this boot and the last one sent; else empty."""
        self.doubtful_memory = b""
        """Of the newest record left, where later ones may be at a collector; see S3."""
        self._resume(found)
        self._forget_settled()

    @property
    def cursor(self) -> Position:
        """Everything that ends here or before is settled."""
        return self._cursor

    @property
    def problem(self) -> str:
        """What the disk or the merging process refuses at present, beside appends; else empty."""
        bad = [segment for segment in self._segments if segment.trouble]
        lost = "{0.path}: records cannot be read and are lost: {0.trouble}; check this disk"
        return self._tally.problem or next(map(lost.format, bad), "")

    def append(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        """Make (payload, memory) pairs durable, in order, with one fsync.

        Raises SpoolError where the disk refuses: then none of them is spooled,
        the spool stays usable, and the next call begins a new epoch (S3).
        """
        if not records:
            return
        incoming = sum(
            len(payload) + len(memory) + FRAME_HEADER_BYTES for payload, memory in records
        )
        unix_ns = max(0, self._unix_ns())
        try:
            if self._descriptor >= 0 and not os.fstat(self._descriptor).st_nlink:
                _log.error("the spool's newest segment was deleted", path=self._segments[-1].path)
                self._abandon()
            self._cursor = self._room.make(self._segments, incoming, self._cursor)
            segment = self._segment_for(incoming)
            framed = [
                Record(sequence, 1, unix_ns, payload, memory)
                for sequence, (payload, memory) in enumerate(records, segment.next_sequence)
            ]
            sizes = segment.append(self._descriptor, framed)
            self._sync(self._descriptor)
        except OSError as error:
            self._tally.refused += 1
            self._abandon()
            raise self._refused("written", error) from None
        segment.take(framed, sizes)
        self.memory = records[-1][1]
        self._tally.appended += len(records)
        self._tally.appended_bytes += sum(len(payload) for payload, _ in records)

    def read_from(self, position: Position, max_bytes: int) -> list[Spooled]:
        """Return the next records behind ``position``, at least one where there is any.

        Goes on until about ``max_bytes`` or a segment's end. Where records are
        lost to damage a gap comes in their place. Raises SpoolError.
        """
        position = max(position, self._cursor)
        at = 0
        while at < len(self._segments):
            segment = self._segments[at]
            number = segment.header.number
            offset = position.offset if number == position.segment else 0
            if number < position.segment or not segment.after(offset):
                at += 1
                continue
            try:
                found = self._read(at, offset, max_bytes)
            except OSError as error:
                refused = self._refused("read", error)
                self._tally.trouble("read", str(refused))
                raise refused from None
            self._tally.trouble("read", "")
            if found:
                self._mark_sent(segment)
                return found
        return []

    def hold_newest(self) -> Position:
        """Return where the newest segment begins, or the cursor in it; it is not merged any more.

        Who reads on from there, before the rest, finds every record in its place.
        """
        if not self._segments:
            return self._cursor
        self._mark_sent(self._segments[-1])
        return max(self._cursor, Position(self._segments[-1].header.number, 0))

    def ack(self, position: Position) -> None:
        """Settle everything up to ``position``; an older one than the cursor changes nothing.

        A disk that does not take the news is a ``problem``, no more (S7).
        """
        if position <= self._cursor:
            return
        self._cursor = position
        try:
            self._settled = settled.newest(self._segments, position) or self._settled
            if self._settled is not None:
                may_delete = not unsettled(self._segments[0], position)
                settled.write(self._directory, self._settled, self._sync if may_delete else None)
            directories.write_cursor(self._directory, position)
            self._forget_settled()
        except OSError as error:
            self._tally.trouble("cursor", str(self._refused("written", error)))
            with suppress(OSError):
                self._forget_settled()
        else:
            self._tally.trouble("cursor", "")

    def counts(self) -> SpoolCounts:
        """Return what is in the spool now."""
        return self._tally.counts(self._segments, self._cursor)

    def close(self) -> None:
        """Give descriptor and lock back; safe to call twice."""
        for descriptor in (self._descriptor, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._lock = -1

    def _read(self, at: int, offset: int, max_bytes: int) -> list[Spooled]:
        """Return records behind ``offset``, or the gap before them; none where they are damaged."""
        segment = self._segments[at]
        index, lost = segment.index_after(offset), segment.lost
        frames = segment.frames(index, max_bytes)
        if damaged := segment.lost - lost:
            self._tally.damaged += damaged
            _log.error("damaged records in the spool", path=segment.path, records_lost=damaged)
        missing = lost_before(self._segments, at, index, self._settled) if frames else 0
        if missing and frames[0].start > offset:
            try:
                gap = gap_record(self._segments, at, index, missing, self.merging, self._settled)
            except MergeFailed as error:
                _log.error("damaged records leave no gap", records_lost=missing, reason=error)
            else:
                return [Spooled.of(segment.header, gap, frames[0].start)]
        return [Spooled.of(segment.header, frame.record, frame.end) for frame in frames]

    def _mark_sent(self, segment: Segment) -> None:
        """Note durably that records of it may be at a collector from now on (S9)."""
        if segment.sent:
            return
        segment.sent = True
        try:
            directories.mark_sent(segment, self._sync)
        except OSError as error:
            self._tally.trouble("mark", str(self._refused("written", error)))
        else:
            self._tally.trouble("mark", "")

    def _resume(self, found: directories.Found) -> None:
        """Go on with the newest segment where S3 allows it."""
        if not found.segments:
            return
        newest = found.segments[-1]
        holder = next((s for s in reversed(found.segments) if len(s)), None)
        if found.last and holder and self._is_this_boot(holder.header):
            memory = found.last.record.memory
            self.memory, self.doubtful_memory = (b"", memory) if found.forgets else (memory, b"")
        in_doubt = found.torn or self._number != newest.header.number or newest.header.resolution_ns
        if in_doubt or not self._is_this_boot(newest.header):
            return
        try:
            self._descriptor = os.open(newest.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            self.close()
            raise self._refused("opened", error) from None
        self._epoch = newest.header.epoch

    def _is_this_boot(self, header: SegmentHeader) -> bool:
        return header.boot_id == self._boot_id and any(self._boot_id)

    def _segment_for(self, incoming: int) -> Segment:
        """Return the segment to append to, a new one where the newest is full or in doubt."""
        newest = self._segments[-1] if self._segments else None
        if newest is not None and self._epoch:
            if newest.end + incoming <= self._config.segment or not len(newest):
                return newest
            sequence = newest.next_sequence
        else:
            self._epoch = secrets.randbits(64) or 1
            self._tally.epochs += 1
            sequence = 1
        header = SegmentHeader(
            number=self._number + 1,
            boot_id=self._boot_id,
            epoch=self._epoch,
            first_sequence=sequence,
            previous_end=newest.end if newest is not None else 0,
            last_number=self._number + 1,
        )
        segment, descriptor = segments.create(self._directory, header, self._sync)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = descriptor
        self._number += 1
        self._segments.append(segment)
        return segment

    def _abandon(self) -> None:
        """Leave the newest segment at its last good record: nobody knows what else it holds."""
        self._epoch = 0
        if self._descriptor < 0:
            return
        newest = self._segments[-1]
        with suppress(OSError):  # S4 holds without it
            os.ftruncate(self._descriptor, newest.end)
        with suppress(OSError):
            os.close(self._descriptor)
        self._descriptor = -1
        if not len(newest):  # its number was never read from: the next try may have it
            with suppress(OSError):
                newest.delete()
            del self._segments[-1]
            self._number -= 1

    def _forget_settled(self) -> None:
        """Delete settled segments, but for the record before the cursor: gaps begin at one."""
        while self._segments and not unsettled(self._segments[0], self._cursor):
            after = next((segment for segment in self._segments[1:] if len(segment)), None)
            if after is None or self._cursor < Position(after.header.number, after.ends[0]):
                return
            self._segments[0].delete()
            del self._segments[0]

    def _refused(self, what: str, error: OSError) -> SpoolError:
        return SpoolError(
            f"{self._directory}: the spool cannot be {what}: {error.strerror}; "
            "free space there or give --state-dir a directory that this user may write"
        )
