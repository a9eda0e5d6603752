"""Payloads in memory while the disk takes none: the oldest are merged, so that any time fits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from chipwatt.agent.spool.contract import Merging
from chipwatt.agent.spool.merger import MergeFailed
from chipwatt.agent.spool.plan import Piece, next_step
from chipwatt.core import log

_log = log.get(__name__)


class Record(NamedTuple):
    """A payload, the memory behind it, and to what it was merged (0: as it was made)."""

    payload: bytes
    memory: bytes
    resolution_ns: int = 0


class Held:
    """Records in the order they came. One coroutine takes from it and merges; any may put."""

    def __init__(self, limit_bytes: int, merging: Merging) -> None:
        """Hold up to ``limit_bytes``; from half of that on it is crowded."""
        self._limit_bytes = limit_bytes
        self._merging = merging
        self._records: list[Record] = []
        self._failed = ""
        self.bytes = 0
        self.merged = 0
        """Records that became part of coarser ones."""
        self.dropped = 0
        """Records given up since merging did not make enough room."""

    def __len__(self) -> int:
        return len(self._records)

    @property
    def is_crowded(self) -> bool:
        """Whether ``coarsen`` should make room."""
        return self.bytes > self._limit_bytes // 2

    def put(self, record: Record) -> None:
        """Add the newest record; over the limit the oldest goes."""
        self._records.append(record)
        self.bytes += _size(record)
        while self.bytes > self._limit_bytes and len(self._records) > 1:
            self.bytes -= _size(self._records.pop(0))
            self.dropped += 1
            _log.error("payload dropped: the disk refuses and memory is full")

    def take(self, max_bytes: int) -> list[Record]:
        """Take the oldest records away: one, then as many as fit into ``max_bytes``."""
        count, taken = 0, 0
        for record in self._records:
            taken += len(record.payload)
            if count and taken > max_bytes:
                break
            count += 1
        group = self._records[:count]
        del self._records[:count]
        self.bytes -= sum(map(_size, group))
        return group

    def put_back(self, group: Sequence[Record]) -> None:
        """Make taken records the oldest again."""
        self._records[:0] = group
        self.bytes += sum(map(_size, group))

    async def coarsen(self) -> bool:
        """Merge some of the oldest, in a process of its own; False where that is no use."""
        pieces = [
            Piece(_size(record), record.resolution_ns, None, True) for record in self._records
        ]
        step = next_step(pieces, self._limit_bytes // 2)
        if step is None:
            return False
        run = self._records[step.first : step.end]
        payloads = [record.payload for record in run]
        try:
            answers = await asyncio.to_thread(self._merging.coarser, payloads, step.resolution_ns)
        except MergeFailed as error:
            if str(error) != self._failed:
                _log.error("payloads in memory cannot be merged", reason=error)
            self._failed = str(error)
            return False
        self._failed = ""
        first = next((at for at, record in enumerate(self._records) if record is run[0]), -1)
        if first < 0:
            return True  # it was dropped meanwhile
        left = iter(run)
        merged = [
            Record(payload, list(islice(left, count))[-1].memory, step.resolution_ns)
            for count, payload in answers
        ]
        self._records[first : first + len(run)] = merged
        self.bytes += sum(map(_size, merged)) - sum(map(_size, run))
        self.merged += len(run) - len(merged)
        return len(merged) < len(run) or run[0].resolution_ns < step.resolution_ns


def _size(record: Record) -> int:
    return len(record.payload) + len(record.memory)
