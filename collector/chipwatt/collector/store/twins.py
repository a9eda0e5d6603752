"""What two agents of one host say of the same time, and what none of them says.

Within a boot, the spool epochs of one agent follow one another in time. Two that tell of
the same time are two agents that read the same sensors, each with a state folder of its
own: every joule would come twice. The first to be stored stays. What another one says of the
same line (one statistic of one domain of one device) and time is left out; of a window
that sticks out, the rest is a gap of at most the window's energy.

An agent that lost its state begins an epoch at sequence 1 without having told what was
drawn since its last window. Here that is known up to when it was told: the rest is a
gap, of at most what the sensor can show.

Only streams whose time overlaps that of another one, and beginnings, cost more than a glance.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from chipwatt.collector.store.contract import BatchKey, IncomingBatch
from chipwatt.collector.store.dictionary import Dictionary
from chipwatt.collector.store.overlap import SLACK_NS, Stored
from chipwatt.collector.store.told import (
    SAME_NS,
    Told,
    gap_row,
    span_of,
    untold,
    with_gaps,
)
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.columns import MAX_ENERGY_UJ, MAX_POWER_MW, MAX_SPAN_NS, SectionKind
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Flag
from chipwatt.core.rows import Rows, take, values
from chipwatt.core.tables import Tables

TOLD_BY_TWO = "twin"
"""Reason under which rows that were left out are counted."""
FIRST_FEW = 16
"""Batches of a stream in which a line may begin that an agent before it told of."""
_UNSURE_NS = 300 * NS_PER_S
"""How much later than the last compaction knew a stream may have told of its host."""
_NOT_KNOWN_NS = 1 << 62
_LOOK_BACK_NS = 3600 * NS_PER_S
"""How long before a beginning a row is looked for that the last compaction did not know."""
_TIMED = (SectionKind.DEVICE_WINDOW, SectionKind.HOST_SECOND)
_Boot = tuple[bytes, bytes]
_LineKey = tuple[DeviceId, int, int]
"""Device, domain, statistic."""
_HOST: _LineKey = (DeviceId(DeviceKind.OTHER), 0, 0)
"""Of host seconds."""


class Known(NamedTuple):
    """What the store tells of a host, as of the last compaction."""

    ends: dict[_LineKey, Told]
    """Up to when each line is told."""
    is_whole: bool
    """Whether nothing is missing there that was stored before the store was opened."""
    powers_mw: dict[_LineKey, int]
    """What each sensor can show at most."""


class Twins:
    """Which time each stream has told of; used by the one thread that commits."""

    def __init__(
        self,
        dictionary: Dictionary,
        stored: Stored,
        known: Callable[[bytes], Known],
        connection: sqlite3.Connection,
    ) -> None:
        self._dictionary = dictionary
        self._stored = stored
        self._known = known
        self._newest: dict[_Boot, int] = {}
        """The newest spool epoch of each boot of each host."""
        self._several: set[_Boot] = set()
        for host, boot, epoch in connection.execute(
            "SELECT host, boot, spool_epoch FROM stream ORDER BY id"
        ):
            if (host, boot) in self._newest:
                self._several.add((host, boot))
            self._newest[host, boot] = int.from_bytes(epoch)
        self._before = frozenset(self._newest)
        """Boots of which something was stored before this process."""
        self._spans: dict[_Boot, dict[int, tuple[int, int]]] = {}
        self._begun: set[BatchKey] = set()
        """Streams that began here with sequence 1, as that key."""

    def settle(
        self, batches: Sequence[IncomingBatch]
    ) -> tuple[list[IncomingBatch], dict[bytes, Counter[str]]]:
        """Return the batches with every time once, and how many rows were left out.

        Raises StoreError.
        """
        settled: list[IncomingBatch] = []
        changed: dict[bytes, Counter[str]] = {}
        for batch in batches:
            tables, left_out = self._once(batch, settled)
            if left_out:
                changed.setdefault(batch.key.host, Counter())[TOLD_BY_TWO] += left_out
            settled.append(batch if tables is batch.tables else replace(batch, tables=tables))
        return settled, changed

    def _once(self, batch: IncomingBatch, earlier: list[IncomingBatch]) -> tuple[Tables, int]:
        key = batch.key
        is_first = self._begins(batch)
        timed = [batch.tables[kind] for kind in _TIMED if kind in batch.tables]
        spans = [span for table in timed if (span := span_of(table)) is not None]
        if not spans:
            return batch.tables, 0
        start_ns, end_ns = min(low for low, _ in spans), max(high for _, high in spans)
        known = self._streams(key)
        meets = (key.host, key.boot) in self._several and any(
            epoch != key.spool_epoch and low < end_ns and start_ns < high
            for epoch, (low, high) in known.items()
        )
        low, high = known.get(key.spool_epoch, (start_ns, end_ns))
        known[key.spool_epoch] = (min(low, start_ns), max(high, end_ns))
        tables, left_out = batch.tables, 0
        if meets:
            tables, left_out = self._without_told(batch, earlier)
        if is_first:
            tables = self._with_gaps(replace(batch, tables=tables), earlier)
        return tables, left_out

    def _begins(self, batch: IncomingBatch) -> bool:
        """Whether lines may begin in a batch of which an earlier stream of this boot told."""
        key, boot = batch.key, (batch.key.host, batch.key.boot)
        newest = self._newest.setdefault(boot, key.spool_epoch)
        if newest != key.spool_epoch:
            self._several.add(boot)
            if key.sequence == 1:
                self._newest[boot] = key.spool_epoch
        first = replace(key, sequence=1)
        if boot not in self._several or key.sequence > FIRST_FEW:
            self._begun.discard(first)
        elif key == first and batch.tables.keys() - {SectionKind.GAP, SectionKind.DEVICE}:
            self._begun.add(first)
        return first in self._begun

    def _streams(self, key: BatchKey) -> dict[int, tuple[int, int]]:
        """Return the spans of a boot's streams; 0 stands for what came before this process."""
        boot = (key.host, key.boot)
        spans = self._spans.get(boot)
        if spans is None:
            spans = self._spans[boot] = {}
            if boot in self._before:
                spans[0] = (0, _NOT_KNOWN_NS)
        if boot in self._several and spans.get(0, (0, 0))[1] == _NOT_KNOWN_NS:
            known = self._known(key.host)
            if known.is_whole:
                end_ns = max((end.end_ns for end in known.ends.values()), default=0)
                spans[0] = (0, end_ns + _UNSURE_NS)
        return spans

    def _without_told(
        self, batch: IncomingBatch, earlier: Sequence[IncomingBatch]
    ) -> tuple[Tables, int]:
        """Leave out what is stored of the same time."""
        host = self._dictionary.host(batch.key.host, batch.received_unix_ns)
        tables, left_out = dict(batch.tables), 0
        gaps: list[dict[str, Any]] = []
        for kind in _TIMED:
            if kind not in tables or not tables[kind].rows:
                continue
            rows = self._owned(host, kind, batch)
            told = self._told(host, rows, earlier)
            kept = np.ones(len(rows), dtype=bool)
            for at, (line, row) in enumerate(self._lines(rows)):
                parts = None if row["flags"] & Flag.REPLAYED else untold(row, told.get(line, []))
                if parts is None:
                    continue
                kept[at] = False
                if kind is SectionKind.DEVICE_WINDOW:
                    device = int(rows.table["device"][at])
                    gaps += [gap_row(row, device, *part, row["energy_uj"]) for part in parts]
            if not kept.all():
                left_out += int((~kept).sum())
                tables[kind] = take(rows, kept).table
        return with_gaps(tables, gaps), left_out

    def _with_gaps(self, batch: IncomingBatch, earlier: Sequence[IncomingBatch]) -> Tables:
        """Add what was drawn before lines that begin anew, since they were last told of."""
        if SectionKind.DEVICE_WINDOW not in batch.tables:
            return batch.tables
        host = self._dictionary.host(batch.key.host, batch.received_unix_ns)
        rows = self._owned(host, SectionKind.DEVICE_WINDOW, batch)
        begin = {
            line: row
            for line, row in reversed(list(self._lines(rows)))
            if row["flags"] & Flag.EPOCH_START and not row["flags"] & Flag.REPLAYED
        }
        if not begin:
            return batch.tables
        known = self._known(batch.key.host)
        ends = self._ends(host, batch, rows, known, earlier)
        devices = dict(zip(rows.owners.tolist(), rows.table["device"].tolist(), strict=True))
        numbers = {self._dictionary.devices[owner][1]: at for owner, at in devices.items()}
        gaps = []
        for line, row in begin.items():
            start = Told.of(row)
            before = [each for each in ends.get(line, []) if each.is_same_boot(start)]
            end_ns = max((each.end_ns for each in before), default=start.start_ns)
            duration_ns = start.start_ns - end_ns
            if SAME_NS < duration_ns <= MAX_SPAN_NS:
                power_mw = known.powers_mw.get(line, 0) or MAX_POWER_MW
                upper_uj = min(MAX_ENERGY_UJ, -(-power_mw * duration_ns // NS_PER_MS))
                part = (end_ns, start.start_ns)
                gaps.append(gap_row(row, numbers[line[0]], *part, upper_uj))
        return with_gaps(dict(batch.tables), gaps) if gaps else batch.tables

    def _ends(
        self,
        host: int,
        batch: IncomingBatch,
        rows: Rows,
        known: Known,
        earlier: Sequence[IncomingBatch],
    ) -> dict[_LineKey, list[Told]]:
        """Return what is told before the lines of ``rows``, as far as it may be the last."""
        ends = {line: [end] for line, end in known.ends.items()}
        first_unix_ns = int(rows.table["start_unix_ns"].min())
        since_unix_ns = min(
            (end.boot_unix_ns + end.end_ns for end in known.ends.values()), default=first_unix_ns
        )
        since_unix_ns = max(since_unix_ns, first_unix_ns - _LOOK_BACK_NS) - SLACK_NS
        found = [
            self._stored(kind, host, since_unix_ns, first_unix_ns + SLACK_NS)
            for kind in (SectionKind.DEVICE_WINDOW, SectionKind.GAP)
        ]
        for one in (*earlier, batch):
            if one.key.host == batch.key.host:
                found += [
                    self._owned(host, kind, one)
                    for kind in (SectionKind.DEVICE_WINDOW, SectionKind.GAP)
                    if kind in one.tables
                ]
        starts = {line: Told.of(row) for line, row in reversed(list(self._lines(rows)))}
        for part in found:
            for line, row in self._lines(part) if part is not None else ():
                told = Told.of(row)
                if line in starts and told.start_ns < starts[line].start_ns:
                    ends.setdefault(line, []).append(told)
        return ends

    def _told(
        self, host: int, rows: Rows, earlier: Sequence[IncomingBatch]
    ) -> dict[_LineKey, list[Told]]:
        """Return what is stored, or about to be, around the time of ``rows``."""
        starts, durations = rows.table["start_unix_ns"], rows.table["duration_ns"]
        reach_ns = SLACK_NS + 2 * int(durations.max())
        first, last = int(starts.min()) - reach_ns, int(starts.max()) + reach_ns
        found = [self._stored(rows.kind, host, first, last)]
        name = self._dictionary.hosts[host].host
        found += [
            self._owned(host, rows.kind, one)
            for one in earlier
            if one.key.host == name and rows.kind in one.tables
        ]
        told: dict[_LineKey, list[Told]] = {}
        for part in found:
            for line, row in self._lines(part) if part is not None else ():
                told.setdefault(line, []).append(Told.of(row))
        return told

    def _owned(self, host: int, kind: SectionKind, batch: IncomingBatch) -> Rows:
        table = batch.tables[kind]
        if kind is SectionKind.HOST_SECOND:
            return Rows(np.full(table.rows, host, "<u4"), table)
        return Rows(self._dictionary.inventory(host, batch.tables)[table["device"]], table)

    def _lines(self, rows: Rows) -> Iterator[tuple[_LineKey, dict[str, Any]]]:
        """Yield each row with the line that it tells of."""
        for owner, row in zip(rows.owners.tolist(), values(rows), strict=True):
            if rows.kind is SectionKind.HOST_SECOND:
                yield _HOST, row
            else:
                device = self._dictionary.devices[owner][1]
                yield (device, row["domain"], row["statistic"]), row
