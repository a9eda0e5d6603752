"""What waits for its interval to end, and the three numbers that a successor goes on from.

A row belongs to the interval in which its window starts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from chipwatt.collector.otlp.gaps import GAP_ROW, add_gaps_up, gaps_of
from chipwatt.collector.otlp.row import ROW, Rows, empty, join
from chipwatt.collector.otlp.windows import add_up, rows_of
from chipwatt.collector.store.contract import Block

_FEW = 4096


class Kind(NamedTuple):
    """What waits: how a block becomes rows, and how rows become fewer."""

    dtype: np.dtype[Any]
    rows_of: Callable[[Block, int], Rows]
    add_up: Callable[[Rows], Rows]


WINDOWS: Final = Kind(ROW, rows_of, add_up)
GAPS: Final = Kind(GAP_ROW, gaps_of, add_gaps_up)


class Intervals:
    """Rows of one kind that wait for their interval to end.

    Exported is what stands at or before position ``done``, and what stands at or before
    ``read`` and starts before ``closed_unix_ns``. These three numbers are all that a
    successor needs to go on where this one stopped.
    """

    def __init__(
        self,
        interval_ns: int,
        *,
        done: int = 0,
        read: int = 0,
        closed_unix_ns: int = 0,
        kind: Kind = WINDOWS,
    ) -> None:
        self._kind = kind
        self._interval_ns = interval_ns
        self._resume = (read, closed_unix_ns)
        self._waiting = empty(kind.dtype)
        self._fresh: list[Rows] = []
        self.read = done
        """Position of the last block that was added."""
        self.closed_unix_ns = closed_unix_ns
        """Intervals that start before this have gone out."""
        self.newest_unix_ns = 0
        """Newest start of a row seen."""

    def __len__(self) -> int:
        return len(self._waiting) + sum(len(rows) for rows in self._fresh)

    @property
    def is_resuming(self) -> bool:
        """Whether blocks are still due that the predecessor had read."""
        return self.read < self._resume[0]

    @property
    def done(self) -> int:
        """Everything up to this position has been closed."""
        self._merge()
        if not len(self._waiting):
            return self.read
        return int(self._waiting.array["position"].min()) - 1

    def add(self, blocks: list[Block]) -> None:
        """Add blocks that follow those before."""
        for block in blocks:
            rows = self._kind.rows_of(block, self._interval_ns)
            read, closed_unix_ns = self._resume
            if block.position <= read:
                rows = rows.take(rows.array["start_unix_ns"] >= closed_unix_ns)
            if len(rows):
                newest_unix_ns = int(rows.array["start_unix_ns"].max())
                self.newest_unix_ns = max(self.newest_unix_ns, newest_unix_ns)
                self._fresh.append(rows)
            self.read = block.position
        if len(self) > 2 * len(self._waiting) + _FEW:
            self._merge()

    def close(self, before_unix_ns: int, *, ahead_unix_ns: int) -> Rows:
        """Take the intervals that end by ``before_unix_ns``, a whole number of intervals.

        Those that start at or after ``ahead_unix_ns`` come too: a clock that runs far
        ahead must not hold its data, and with it the cursor, for hours.
        """
        self._merge()
        self.closed_unix_ns = max(self.closed_unix_ns, before_unix_ns)
        array = self._waiting.array
        ends = (array["slot"] + 1) * self._interval_ns
        is_ripe = (ends <= before_unix_ns) | (array["start_unix_ns"] >= ahead_unix_ns)
        ripe, self._waiting = self._waiting.take(is_ripe), self._waiting.take(~is_ripe)
        return ripe

    def close_all(self) -> Rows:
        """Take everything, the interval under way included."""
        self._merge()
        rows, self._waiting = self._waiting, empty(self._kind.dtype)
        return rows

    def _merge(self) -> None:
        """Add up what came since the last time: at most as often as rows have doubled."""
        if self._fresh:
            self._waiting = self._kind.add_up(join([self._waiting, *self._fresh]))
            self._fresh.clear()
