"""Merging columns group by group; an absent value takes no part unless it is alone."""

from __future__ import annotations

import numpy as np

from chipwatt.core.columns import MAX_BUCKETS, ColumnSpec
from chipwatt.core.tables import Array, Table

_FINEST = 20  # of the column hist_scale


class Groups:
    """Neighbouring rows that become one; ``first`` is where each group begins."""

    def __init__(self, first: Array, rows: int) -> None:
        self.first = first
        self.rows = rows
        self.sizes = np.diff(np.append(first, rows))
        self.of_row = np.repeat(np.arange(len(first)), self.sizes)

    def added(self, column: Array, spec: ColumnSpec) -> Array:
        """Return sums, at most what the column can hold."""
        wide = column.astype(np.uint64)
        if not spec.absent:
            sums = np.add.reduceat(wide, self.first)
            return np.minimum(sums, _most(spec)).astype(spec.dtype)
        known = column != spec.absent_value
        sums = np.add.reduceat(np.where(known, wide, 0), self.first)
        return self._known(np.minimum(sums, _most(spec)), known, spec)

    def greatest(self, column: Array, spec: ColumnSpec) -> Array:
        """Return the greatest known value of each group."""
        if not spec.absent:
            return np.maximum.reduceat(column, self.first)
        known = column != spec.absent_value
        return self._known(np.maximum.reduceat(np.where(known, column, 0), self.first), known, spec)

    def least(self, column: Array) -> Array:
        """Return the least value; absent is the greatest there is, so it loses by itself."""
        least: Array = np.minimum.reduceat(column, self.first)
        return least

    def flags(self, column: Array, merged: int) -> Array:
        """Return the union of flags, with ``merged`` where there was more than one row."""
        union = np.bitwise_or.reduceat(column, self.first)
        return np.where(self.sizes > 1, union | column.dtype.type(merged), union)

    def last_known(self, column: Array, spec: ColumnSpec) -> Array:
        """Return the last known value of each group."""
        positions = np.where(column != spec.absent_value, np.arange(self.rows), -1)
        last = np.maximum.reduceat(positions, self.first)
        return np.where(last < 0, spec.absent_value, column[last]).astype(spec.dtype)

    def where_greatest(self, column: Array, absent: int) -> Array:
        """Return the position of each group's first greatest value, absent counted as 0."""
        strength = np.where(column == absent, 0, column.astype(np.int64))
        best = np.repeat(np.maximum.reduceat(strength, self.first), self.sizes)
        positions = np.where(strength == best, np.arange(self.rows), self.rows)
        where: Array = np.minimum.reduceat(positions, self.first)
        return where

    def mean_by_time(self, column: Array, durations_ns: Array) -> Array:
        """Return means weighted by time, rounded down; a group of one keeps its value."""
        total = np.add.reduceat(durations_ns.astype(np.float64), self.first)
        sums = np.add.reduceat(column * durations_ns.astype(np.float64), self.first)
        means = np.floor(np.divide(sums, total, out=np.zeros_like(sums), where=total > 0) + 1e-6)
        return np.where(self.sizes == 1, column[self.first], means).astype(column.dtype)

    def any(self, mask: Array) -> Array:
        """Return whether any row of each group is in ``mask``."""
        found: Array = np.logical_or.reduceat(mask, self.first)
        return found

    def _known(self, column: Array, known: Array, spec: ColumnSpec) -> Array:
        return np.where(self.any(known), column, spec.absent_value).astype(spec.dtype)


def _most(spec: ColumnSpec) -> int:
    """Return where sums stop: counts one below their column's end, so that none reads as absent."""
    return spec.high if spec.width == 8 else min(spec.high, (1 << 32) - 2)


def merged_histograms(
    table: Table, groups: Groups, *, finest: int = _FINEST, counts: str = "<u4"
) -> dict[str, Array]:
    """Return the columns of the histograms that ``core.histogram.merge`` makes, one a group.

    Without ``hist_zero_ms``, which is a plain sum. No scale is above ``finest``;
    ``counts`` is the type of the counts, which stop where it does.

    Lowering a scale is a shift, and shifts compose: so the scale at which the
    whole group fits is also the one that merging pair by pair ends with.
    """
    lengths = table["hist_buckets"].astype(np.int64)
    scale = table["hist_scale"].astype(np.int64)
    low = table["hist_offset"].astype(np.int64)
    full = lengths > 0
    far = np.int64(1) << 40
    coarsest = np.minimum.reduceat(np.where(full, scale, far), groups.first)
    empty = coarsest == far
    coarsest = np.minimum(coarsest, finest)
    coarsest[empty] = 0
    shift = np.where(full, scale - coarsest[groups.of_row], 0)
    group_low = np.minimum.reduceat(np.where(full, low >> shift, far), groups.first)
    group_high = np.maximum.reduceat(
        np.where(full, (low + lengths - 1) >> shift, -far), groups.first
    )
    more = np.zeros(len(groups.first), dtype=np.int64)
    while True:
        wide = ~empty & ((group_high >> more) - (group_low >> more) + 1 > MAX_BUCKETS)
        if not wide.any():
            break
        more += wide
    group_low, group_high = group_low >> more, group_high >> more
    buckets = np.where(empty, 0, group_high - group_low + 1)
    ends = np.cumsum(buckets)
    row_of_count = np.repeat(np.arange(table.rows), lengths)
    group_of_count = groups.of_row[row_of_count]
    within = np.arange(len(row_of_count)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    index = (low[row_of_count] + within) >> (shift[row_of_count] + more[group_of_count])
    index += (ends - buckets)[group_of_count] - group_low[group_of_count]
    total = np.zeros(int(ends[-1]), dtype=np.uint64)
    np.add.at(total, index, table["hist_counts_ms"].astype(np.uint64))
    last = groups.first + groups.sizes - 1
    return {
        "hist_scale": np.where(empty, scale[last], coarsest - more).astype("<i1"),
        "hist_offset": np.where(empty, low[last], group_low).astype("<i4"),
        "hist_buckets": buckets.astype("<u1"),
        "hist_counts_ms": np.minimum(total, np.iinfo(counts).max).astype(counts),
    }
