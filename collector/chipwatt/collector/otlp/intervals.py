"""Windows add up to intervals: whole columns in, one row a sensor and interval out.

A row belongs to the interval in which its window starts. Rows of one statistic of a domain,
counter epoch and interval become one: energies and times add up, the counter is
that of the newest window. Adding up is associative, so rows that wait are kept added up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from chipwatt.collector.otlp.gaps import GAP_ROW, add_gaps_up, gaps_of
from chipwatt.collector.otlp.row import ROW
from chipwatt.collector.store.contract import Block
from chipwatt.core.columns import SectionKind
from chipwatt.core.model import Flag
from chipwatt.core.tables import Array

_KEY: Final = ("host", "device", "domain", "statistic", "is_root", "epoch", "slot")
_SAME: Final = (
    *("domain", "statistic", "epoch", "start_unix_ns", "duration_ns"),
    *("energy_uj", "cumulative_uj", "method", "interface"),
)
_FEW = 4096
# Within an epoch a counter never falls: the least value before is that of the first window.
_COMBINE: Final = (
    (np.add, ("energy_uj", "duration_ns", "covered_ns")),
    (np.minimum, ("start_unix_ns", "base_uj", "position")),
    (np.maximum, ("end_unix_ns", "cumulative_uj", "is_filtered")),
)


def rows_of(block: Block, interval_ns: int) -> Array:
    """Return a row a window of ``block``; none where it holds something else."""
    table = block.table
    if block.kind is not SectionKind.DEVICE_WINDOW or not table.rows:
        return np.empty(0, dtype=ROW)
    rows = np.empty(table.rows, dtype=ROW)
    for name in _SAME:
        rows[name] = table[name]
    rows["host"] = block.hosts
    rows["device"] = block.devices
    rows["slot"] = rows["start_unix_ns"] // interval_ns
    rows["end_unix_ns"] = rows["start_unix_ns"] + rows["duration_ns"].astype(np.int64)
    rows["base_uj"] = rows["cumulative_uj"] - rows["energy_uj"]
    # 400 days of ns times a million would not fit 64 bits, and coverage is no ledger.
    rows["covered_ns"] = (rows["duration_ns"] * (table["coverage_ppm"] / 1e6)).astype(np.uint64)
    rows["is_root"] = (table["flags"] & np.uint32(Flag.ROOT)) != 0
    rows["is_filtered"] = (table["flags"] & np.uint32(Flag.FILTERED)) != 0
    rows["position"] = block.position
    return rows


def add_up(rows: Array) -> Array:
    """Return one row a (host, device, domain, statistic, epoch, interval), in that order."""
    if not len(rows):
        return rows
    rows = rows[np.lexsort([rows["start_unix_ns"], *(rows[name] for name in reversed(_KEY))])]
    is_first = np.ones(len(rows), dtype=bool)
    is_first[1:] = np.any([rows[name][1:] != rows[name][:-1] for name in _KEY], axis=0)
    first = np.flatnonzero(is_first)
    last = np.append(first[1:], len(rows)) - 1
    total: Array = rows[last]
    for combine, names in _COMBINE:
        for name in names:
            total[name] = combine.reduceat(rows[name], first)
    return total


class Kind(NamedTuple):
    """What waits: how a block becomes rows, and how rows become fewer."""

    dtype: np.dtype[Any]
    rows_of: Callable[[Block, int], Array]
    add_up: Callable[[Array], Array]


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
        self._waiting: Array = np.empty(0, dtype=kind.dtype)
        self._fresh: list[Array] = []
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
        return int(self._waiting["position"].min()) - 1

    def add(self, blocks: list[Block]) -> None:
        """Add blocks that follow those before."""
        for block in blocks:
            rows = self._kind.rows_of(block, self._interval_ns)
            read, closed_unix_ns = self._resume
            if block.position <= read:
                rows = rows[rows["start_unix_ns"] >= closed_unix_ns]
            if len(rows):
                self.newest_unix_ns = max(self.newest_unix_ns, int(rows["start_unix_ns"].max()))
                self._fresh.append(rows)
            self.read = block.position
        if len(self) > 2 * len(self._waiting) + _FEW:
            self._merge()

    def close(self, before_unix_ns: int, *, ahead_unix_ns: int) -> Array:
        """Take the intervals that end by ``before_unix_ns``, a whole number of intervals.

        Those that start at or after ``ahead_unix_ns`` come too: a clock that runs far
        ahead must not hold its data, and with it the cursor, for hours.
        """
        self._merge()
        self.closed_unix_ns = max(self.closed_unix_ns, before_unix_ns)
        ends = (self._waiting["slot"] + 1) * self._interval_ns
        is_ripe = (ends <= before_unix_ns) | (self._waiting["start_unix_ns"] >= ahead_unix_ns)
        ripe, self._waiting = self._waiting[is_ripe], self._waiting[~is_ripe]
        return ripe

    def close_all(self) -> Array:
        """Take everything, the interval under way included."""
        self._merge()
        rows, self._waiting = self._waiting, self._waiting[:0]
        return rows

    def _merge(self) -> None:
        """Add up what came since the last time: at most as often as rows have doubled."""
        if self._fresh:
            self._waiting = self._kind.add_up(np.concatenate([self._waiting, *self._fresh]))
            self._fresh.clear()
