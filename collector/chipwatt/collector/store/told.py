"""Which part of a row's time is told of already: pure arithmetic for ``twins``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from chipwatt.collector.store.remainder import SAME_BOOT_NS
from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.columns import SectionKind
from chipwatt.core.model import Flag, GapReason
from chipwatt.core.rows import Rows, concatenate
from chipwatt.core.tables import Array, Table, Tables, table_from_rows

SAME_NS = 50 * NS_PER_MS
"""Two processes of one host may place the edge of a second or a window so far apart."""


class Told(NamedTuple):
    """A stretch of one boot's monotonic clock of which something is stored."""

    start_ns: int
    end_ns: int
    boot_unix_ns: int

    @classmethod
    def of(cls, row: dict[str, Any]) -> Told:
        start_ns = row["start_mono_ns"]
        return cls(start_ns, start_ns + row["duration_ns"], row["start_unix_ns"] - start_ns)

    def is_same_boot(self, other: Told) -> bool:
        return abs(self.boot_unix_ns - other.boot_unix_ns) <= SAME_BOOT_NS


def span_of(table: Table) -> tuple[int, int] | None:
    """Return the time of which sensors tell; None where none does."""
    sensed = (table["flags"] & np.uint32(Flag.REPLAYED)) == 0
    if not sensed.any():
        return None
    starts: Array = table["start_mono_ns"][sensed]
    ends = starts + table["duration_ns"][sensed]
    return int(starts.min()), int(ends.max())


def untold(row: dict[str, Any], told: Sequence[Told]) -> list[tuple[int, int]] | None:
    """Return the parts of a row's time of which nothing is told; None where that is all of it."""
    mine = Told.of(row)
    parts, at_ns = [], mine.start_ns
    for other in sorted(each for each in told if mine.is_same_boot(each)):
        if at_ns < other.start_ns < mine.end_ns:
            parts.append((at_ns, other.start_ns))
        at_ns = max(at_ns, min(other.end_ns, mine.end_ns))
    parts.append((at_ns, mine.end_ns))
    length_ns = mine.end_ns - mine.start_ns
    told_ns = length_ns - sum(end - start for start, end in parts)
    if told_ns <= min(SAME_NS, length_ns // 2):
        return None
    return [(start, end) for start, end in parts if end - start > SAME_NS]


def gap_row(
    row: dict[str, Any], device: int, start_ns: int, end_ns: int, upper_uj: int
) -> dict[str, Any]:
    """Return the gap from ``start_ns`` to ``end_ns`` of the line that a window is of."""
    return {
        "device": device,
        "domain": row["domain"],
        "statistic": row["statistic"],
        "start_unix_ns": row["start_unix_ns"] + start_ns - row["start_mono_ns"],
        "start_mono_ns": start_ns,
        "duration_ns": end_ns - start_ns,
        "lower_uj": 0,
        "upper_uj": upper_uj,
        "reason": GapReason.AGENT_DOWN,
    }


def with_gaps(tables: Tables, gaps: Sequence[dict[str, Any]]) -> Tables:
    """Return the tables with more gaps, as ``gap_row`` makes them."""
    if not gaps:
        return tables
    new = table_from_rows(SectionKind.GAP, gaps)
    if SectionKind.GAP in tables:
        both = (tables[SectionKind.GAP], new)
        new = concatenate([Rows(np.zeros(each.rows, "<u4"), each) for each in both]).table
    return {**tables, SectionKind.GAP: new}
