"""Keeps the spool within its quota: segments become one coarser segment in their place.

The new segment is written whole under another name, made durable and renamed
to the first of the old ones; its header says how many it replaces. So a
restart finds either all of the old ones, or the new one and perhaps some of the
old, which it deletes by that header.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from chipwatt.agent.spool import segment as segments
from chipwatt.agent.spool.contract import Merging
from chipwatt.agent.spool.damage import without_holes
from chipwatt.agent.spool.directory import MERGING
from chipwatt.agent.spool.merger import MergeFailed
from chipwatt.agent.spool.plan import Piece, Step, next_step
from chipwatt.agent.spool.record import Position, Record
from chipwatt.agent.spool.segment import Segment
from chipwatt.agent.spool.tally import Tally, unsettled
from chipwatt.core import log
from chipwatt.core.durable import Sync, sync_directory

_log = log.get(__name__)


class Room:
    """Keeps a list of segments within its quota."""

    def __init__(
        self, directory: Path, quota: int, merging: Merging, sync: Sync, tally: Tally
    ) -> None:
        self._directory = directory
        self._quota = quota
        self._merging = merging
        self._sync = sync
        self._tally = tally

    def make(self, held: list[Segment], incoming: int, cursor: Position) -> Position:
        """Make room for ``incoming`` bytes; returns the cursor, which moves over what is dropped.

        Merging begins a sixteenth below the quota. Should it fail, that is
        time to try again; what is over the quota is then dropped, oldest first.
        Raises OSError where the disk refuses: nothing is dropped for its sake.
        """
        while len(held) > 1:
            over = sum(segment.end for segment in held) + incoming - self._quota
            if over <= -self._quota // 16:
                break
            try:
                if self._merge(held):
                    continue
            except OSError as error:
                self._trouble(error.strerror or str(error))
                if over > 0:
                    raise
            if over <= 0:
                break
            cursor = self._drop_oldest(held, cursor)
        return cursor

    def _merge(self, held: list[Segment]) -> bool:
        step = _next_merge(held, self._quota)
        if step is None:
            return False
        try:
            fewer, segment = self._coarser(held, step)
        except MergeFailed as error:
            self._trouble(str(error))
            return False
        self._tally.trouble("merge", "")
        self._tally.merged += fewer
        replaced = held[step.first + 1 : step.end]
        held[step.first : step.end] = [segment]
        self._forget(replaced)
        return True

    def _trouble(self, reason: str) -> None:
        self._tally.trouble("merge", f"{self._directory}: windows cannot be merged: {reason}")

    def _coarser(self, held: Sequence[Segment], step: Step) -> tuple[int, Segment]:
        """Put one segment in the place of some; returns how many records became fewer, and it.

        Raises MergeFailed and OSError; then nothing has changed.
        """
        run = held[step.first : step.end]
        damaged = sum(segment.lost for segment in run)
        records = list(without_holes(held, step.first, step.end, self._merging))
        self._tally.damaged += sum(segment.lost for segment in run) - damaged
        if not records:
            raise MergeFailed("no record in the oldest segments can be read")
        merged = _merged(records, step.resolution_ns, self._merging)
        header = replace(
            run[0].header,
            first_sequence=records[0].first_sequence,
            last_number=run[-1].header.last_number,
            resolution_ns=step.resolution_ns,
        )
        segment, descriptor = segments.create(self._directory, header, self._sync, name=MERGING)
        try:
            sizes = segment.append(descriptor, merged)
            self._sync(descriptor)
            segment.path.rename(run[0].path)
        except OSError:
            with suppress(OSError):
                segment.path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        segment.path = run[0].path
        segment.take(merged, sizes)
        return len(records) - len(merged), segment

    def _forget(self, replaced: Sequence[Segment]) -> None:
        """Delete what a merged segment stands for; where that fails a restart does it."""
        with suppress(OSError):
            # The new name first: else a power cut may leave neither.
            sync_directory(self._directory, self._sync)
            for segment in replaced:
                segment.delete()
            sync_directory(self._directory, self._sync)

    def _drop_oldest(self, held: list[Segment], cursor: Position) -> Position:
        oldest = held[0]
        unacked = unsettled(oldest, cursor)
        oldest.delete()
        del held[0]
        self._tally.dropped += unacked
        if unacked:
            _log.warning(
                "spool over quota: oldest records dropped",
                records=unacked,
                quota_bytes=self._quota,
            )
        return max(cursor, Position(oldest.header.number, oldest.end))


def _next_merge(held: Sequence[Segment], quota: int) -> Step | None:
    """Return which segments to merge: not the newest, which grows, and none that was sent (S9)."""
    pieces = [
        Piece(
            segment.end,
            segment.header.resolution_ns,
            segment.header.kin,
            bool(len(segment)) and not segment.sent and segment is not held[-1],
        )
        for segment in held
    ]
    return next_step(pieces, quota)


def _merged(records: Sequence[Record], resolution_ns: int, merging: Merging) -> list[Record]:
    merged: list[Record] = []
    at = 0
    for count, payload in merging.coarser([record.payload for record in records], resolution_ns):
        first, last = records[at], records[at + count - 1]
        at += count
        merged.append(
            Record(
                last.sequence,
                last.sequence - first.first_sequence + 1,
                first.unix_ns,
                payload,
                last.memory,
            )
        )
    return merged
