"""Energy that arrives a second time under another key: merged windows over what is stored.

An agent whose spool is full merges windows, perhaps some that were stored and whose
ack was lost. A merged row and the rows that it was made of say the same energy: they
are of one line and epoch and share a stretch of the monotonic clock and of the
counter. Of a merged row that is stored in part only the rest is kept, cut at the
counter values where stored rows begin and end, so that every µJ is there once;
what lies within a merged row that is stored is left out. Rows that are not merged
meet merged ones only: among each other their keys tell them apart.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from chipwatt.collector.store.contract import IncomingBatch
from chipwatt.collector.store.dictionary import Dictionary
from chipwatt.collector.store.ranges import Ranges
from chipwatt.collector.store.remainder import Stretch, remainder
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.columns import SectionKind
from chipwatt.core.model import Flag
from chipwatt.core.rows import Rows, concatenate, take, values
from chipwatt.core.tables import Array, Table, table_from_rows

SLACK_NS = 60 * NS_PER_S
"""How far the labels of one moment may lie apart."""
_KINDS = (SectionKind.DEVICE_WINDOW, SectionKind.HOST_SECOND)
Stored = Callable[[SectionKind, int, int, int], Rows | None]
"""Rows of a kind and host number that start in [start, end)."""


class Overlaps:
    """Where merged rows are stored, by host; used by the one thread that commits."""

    def __init__(self, dictionary: Dictionary, stored: Stored, connection: sqlite3.Connection):
        self._dictionary = dictionary
        self._stored = stored
        self._seconds: dict[int, Ranges] = {}
        self._longest_ns: dict[int, int] = {}
        self._changed: set[int] = set()
        for host, data in connection.execute("SELECT host, seconds FROM merged"):
            flat = array("Q", data)
            self._longest_ns[host] = flat[0]
            self._seconds[host] = Ranges(zip(flat[1::2], flat[2::2], strict=True))

    def settle(
        self, batches: Sequence[IncomingBatch]
    ) -> tuple[list[IncomingBatch], dict[bytes, Counter[str]]]:
        """Return the batches without what is stored already, and how many rows that changed.

        Raises StoreError.
        """
        settled: list[IncomingBatch] = []
        changed: dict[bytes, Counter[str]] = {}
        for batch in batches:
            host = self._dictionary.host(batch.key.host, batch.received_unix_ns)
            tables = dict(batch.tables)
            for kind in _KINDS:
                table = tables.get(kind)
                if table is None or not table.rows or not self._may_overlap(host, table):
                    continue
                rows = self._owned(host, kind, batch)
                found = list(self._known(host, rows, settled))
                kept, counted = _without(rows, concatenate(found)) if found else (rows, Counter())
                if counted:
                    changed.setdefault(batch.key.host, Counter()).update(counted)
                    tables[kind] = kept.table
                self._note(host, kept.table)
            settled.append(replace(batch, tables=tables))
        return settled, changed

    def save(self, connection: sqlite3.Connection) -> None:
        """Write what is new, in the caller's transaction; what fails stays to be written."""
        for host in self._changed:
            flat = array("Q", [self._longest_ns[host]])
            for pair in self._seconds[host].pairs():
                flat.extend(pair)
            connection.execute(
                "INSERT OR REPLACE INTO merged VALUES (?, ?)", (host, flat.tobytes())
            )

    def saved(self) -> None:
        """Take note that what ``save`` wrote is committed."""
        self._changed.clear()

    def _may_overlap(self, host: int, table: Table) -> bool:
        if (table["flags"] & np.uint32(Flag.MERGED)).any():
            return True
        merged = self._seconds.get(host)
        if merged is None:
            return False
        first_s, last_s = _seconds(table)
        return merged.overlaps(
            int(first_s.min()) - SLACK_NS // NS_PER_S, int(last_s.max()) + SLACK_NS // NS_PER_S
        )

    def _owned(self, host: int, kind: SectionKind, batch: IncomingBatch) -> Rows:
        table = batch.tables[kind]
        if kind is SectionKind.HOST_SECOND:
            return Rows(np.full(table.rows, host, "<u4"), table)
        return Rows(self._dictionary.inventory(host, batch.tables)[table["device"]], table)

    def _known(self, host: int, rows: Rows, earlier: Sequence[IncomingBatch]) -> Iterator[Rows]:
        """Yield what is stored, or about to be, around the time of ``rows``."""
        starts = rows.table["start_unix_ns"]
        ends = starts + rows.table["duration_ns"].astype(np.int64)
        reach_ns = SLACK_NS + self._longest_ns.get(host, 0)
        stored = self._stored(
            rows.kind, host, int(starts.min()) - reach_ns, int(ends.max()) + SLACK_NS
        )
        if stored is not None:
            yield stored
        name = self._dictionary.hosts[host].host
        for batch in earlier:
            if batch.key.host == name and rows.kind in batch.tables:
                yield self._owned(host, rows.kind, batch)

    def _note(self, host: int, table: Table) -> None:
        merged = (table["flags"] & np.uint32(Flag.MERGED)) != 0
        if not merged.any():
            return
        seconds = self._seconds.setdefault(host, Ranges())
        for low, high in zip(*(part[merged].tolist() for part in _seconds(table)), strict=True):
            seconds.add(low, high)
        longest_ns = int(table["duration_ns"][merged].max())
        self._longest_ns[host] = max(longest_ns, self._longest_ns.get(host, 0))
        self._changed.add(host)


def _seconds(table: Table) -> tuple[Array, Array]:
    """Return the first and the last second of wall time that each row has part in."""
    first = table["start_unix_ns"] // NS_PER_S
    return first, first + (table["duration_ns"] // NS_PER_S).astype(np.int64) + 1


def _without(rows: Rows, stored: Rows) -> tuple[Rows, Counter[str]]:
    """Return the rows less what ``stored`` says of the same energy."""
    known: dict[tuple[int, ...], list[Stretch]] = {}
    for owner, row in zip(stored.owners.tolist(), values(stored), strict=True):
        stretch = Stretch.of(row)
        known.setdefault((owner, *stretch.line), []).append(stretch)
    counted: Counter[str] = Counter()
    kept = np.ones(len(rows), dtype=bool)
    owners: list[int] = []
    rest: list[dict[str, object]] = []
    devices = rows.table.columns.get("device", rows.owners).tolist()
    for at, (owner, row) in enumerate(zip(rows.owners.tolist(), values(rows), strict=True)):
        pieces = remainder(row, known.get((owner, *Stretch.of(row).line), []))
        if pieces is None:
            continue
        kept[at] = False
        counted["trimmed" if pieces else "covered"] += 1
        owners += [owner] * len(pieces)
        rest += [{**piece, "device": devices[at]} for piece in pieces]
    if not counted:
        return rows, counted
    parts = [take(rows, kept)]
    if rest:
        parts.append(Rows(np.array(owners, "<u4"), table_from_rows(rows.kind, rest)))
    return concatenate(parts), counted
