"""The spool as its users see it: append, read from a cursor, ack. See the package docstring."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from chipwatt.agent.spool import directory as directories
from chipwatt.agent.spool import segment as segments
from chipwatt.agent.spool.contract import SpoolConfig, SpoolCounts, Spooled
from chipwatt.agent.spool.record import Position, SegmentHeader, pack_frame
from chipwatt.agent.spool.segment import Segment, Sync
from chipwatt.core import log
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
    ) -> None:
        """Open the spool in ``directory``, made where there is none, and mend what a crash left.

        Raises SpoolError where another process has it open or the disk refuses.
        """
        self._directory = directory
        self._boot_id = boot_id
        self._config = config or SpoolConfig()
        self._sync = sync
        self._descriptor = -1
        self._lock = -1
        try:
            self._lock = directories.lock(directory)
            found = directories.find(directory)
        except OSError as error:
            self.close()
            raise self._refused("opened", error) from None
        self._segments = found.segments
        self._cursor = found.cursor
        self._number = found.highest_number
        self._dropped = self._epochs = 0
        self._damaged = found.lost + sum(segment.lost for segment in found.segments)
        self._epoch = 0
        self.memory = b""
        """Of the newest record, where it was written in this boot; else empty."""
        self._resume(found)
        self._forget_settled()

    @property
    def cursor(self) -> Position:
        """Everything that ends here or before is settled."""
        return self._cursor

    def append(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        """Make (payload, memory) pairs durable, in order, with one fsync.

        Raises SpoolError where the disk refuses: then none of them is spooled,
        the spool stays usable, and the next call begins a new epoch (S3).
        """
        if not records:
            return
        incoming = sum(len(payload) + len(memory) + 28 for payload, memory in records)
        try:
            self._make_room(incoming)
            segment = self._segment_for(incoming)
            frames = [
                pack_frame(segment.header.seed, segment.next_sequence + index, payload, memory)
                for index, (payload, memory) in enumerate(records)
            ]
            data = b"".join(frames)
            segments.write(self._descriptor, data, segment.end)
            self._sync(self._descriptor)
        except OSError as error:
            self._abandon()
            raise self._refused("written", error) from None
        segment.take([len(frame) for frame in frames])
        self.memory = records[-1][1]

    def read_from(self, position: Position, max_bytes: int) -> list[Spooled]:
        """Return the next records behind ``position``, at least one where there is any.

        Goes on until about ``max_bytes`` or a segment's end. Raises SpoolError.
        """
        position = max(position, self._cursor)
        for segment in self._segments:
            offset = position.offset if segment.header.number == position.segment else 0
            if segment.header.number < position.segment or not segment.after(offset):
                continue
            try:
                frames, lost = segment.frames(offset, max_bytes)
            except OSError as error:
                raise self._refused("read", error) from None
            if lost:
                self._damaged += lost
                _log.error("damaged records in the spool", path=segment.path, records_lost=lost)
            header = segment.header
            if frames:
                return [
                    Spooled(
                        header.boot_id,
                        header.epoch,
                        frame.sequence,
                        frame.payload,
                        Position(header.number, frame.end),
                    )
                    for frame in frames
                ]
        return []

    def ack(self, position: Position) -> None:
        """Settle everything up to ``position``; an older one than the cursor changes nothing.

        Raises SpoolError.
        """
        if position <= self._cursor:
            return
        self._cursor = position
        try:
            directories.write_cursor(self._directory, position)
            self._forget_settled()
        except OSError as error:
            raise self._refused("written", error) from None

    def counts(self) -> SpoolCounts:
        """Return what is in the spool now."""
        held = [segment for segment in self._segments if len(segment)]
        return SpoolCounts(
            records=sum(len(segment) for segment in held),
            bytes=sum(segment.end for segment in self._segments),
            first_sequence=held[0].header.first_sequence if held else 0,
            last_sequence=held[-1].next_sequence - 1 if held else 0,
            unacked=sum(self._unsettled(segment) for segment in held),
            dropped=self._dropped,
            damaged=self._damaged,
            epochs=self._epochs,
        )

    def close(self) -> None:
        """Give descriptor and lock back; safe to call twice."""
        for descriptor in (self._descriptor, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._lock = -1

    def _resume(self, found: directories.Found) -> None:
        """Go on with the newest segment where S3 allows it."""
        if not found.segments:
            return
        newest = found.segments[-1]
        holder = next((s for s in reversed(found.segments) if len(s)), None)
        if found.last and holder and self._is_this_boot(holder.header):
            self.memory = found.last.memory
        in_doubt = found.torn or self._number != newest.header.number
        if in_doubt or not self._is_this_boot(newest.header):
            return
        if self._cursor > Position(newest.header.number, newest.end):
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
            self._epochs += 1
            sequence = 1
        header = SegmentHeader(
            number=self._number + 1,
            boot_id=self._boot_id,
            epoch=self._epoch,
            first_sequence=sequence,
            previous_end=newest.end if newest is not None else 0,
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
                newest.path.unlink()
            del self._segments[-1]
            self._number -= 1

    def _make_room(self, incoming: int) -> None:
        held = sum(segment.end for segment in self._segments) + incoming
        while held > self._config.quota and len(self._segments) > 1:
            oldest = self._segments[0]
            unacked = self._unsettled(oldest)
            oldest.path.unlink()
            del self._segments[0]
            held -= oldest.end
            self._cursor = max(self._cursor, Position(oldest.header.number, oldest.end))
            self._dropped += unacked
            if unacked:
                _log.warning(
                    "spool over quota: oldest records dropped",
                    records=unacked,
                    quota_bytes=self._config.quota,
                )

    def _forget_settled(self) -> None:
        while len(self._segments) > 1 and any(len(segment) for segment in self._segments[1:]):
            if self._unsettled(self._segments[0]):
                return
            self._segments[0].path.unlink(missing_ok=True)
            del self._segments[0]

    def _unsettled(self, segment: Segment) -> int:
        if segment.header.number < self._cursor.segment:
            return 0
        same = segment.header.number == self._cursor.segment
        return segment.after(self._cursor.offset if same else 0)

    def _refused(self, what: str, error: OSError) -> SpoolError:
        return SpoolError(
            f"{self._directory}: the spool cannot be {what}: {error.strerror}; "
            "free space there or give --state-dir a directory that this user may write"
        )
