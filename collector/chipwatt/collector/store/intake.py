"""Batches as the rows of one commit: history as parts, status as newest rows, a receipt."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chipwatt.collector.store import workloads
from chipwatt.collector.store.block import encode
from chipwatt.collector.store.catalogue import number, set_number
from chipwatt.collector.store.contract import IncomingBatch
from chipwatt.collector.store.dictionary import Dictionary
from chipwatt.collector.store.stream_book import StreamBook
from chipwatt.collector.store.tally import Commit
from chipwatt.core.columns import SectionKind
from chipwatt.core.model import Flag
from chipwatt.core.rows import KEPT, Rows, concatenate
from chipwatt.core.tables import Table, Tables, row_values

_COUNTED = {
    SectionKind.HOST_SECOND: "host_seconds",
    SectionKind.DEVICE_WINDOW: "device_windows",
    SectionKind.GAP: "gaps",
}
TOTALS = ("batches", *_COUNTED.values(), "root_energy_uj")
"""Names of the counters in the ``meta`` table."""
_NEWER = (
    "INSERT INTO status VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
    "stream = excluded.stream, sequence = excluded.sequence, row = excluded.row "
    "WHERE excluded.stream <> stream OR excluded.sequence > sequence"
)


@dataclass(slots=True)
class _Status:
    host: int
    stream: int
    sequence: bytes
    devices: list[int]
    tables: Tables


class Intake:
    """Everything that one commit writes, worked out before the transaction begins."""

    def __init__(
        self, batches: Sequence[IncomingBatch], dictionary: Dictionary, book: StreamBook
    ) -> None:
        self.received_unix_ns = max(batch.received_unix_ns for batch in batches)
        self.entries: list[tuple[int, int, bytes]] = []
        self.counted = dict.fromkeys(TOTALS, 0)
        self.counted["batches"] = len(batches)
        self._statuses: list[_Status] = []
        self._minutes: list[workloads.Packed] = []
        gathered: dict[SectionKind, list[Rows]] = {kind: [] for kind in KEPT}
        for batch in batches:
            host = dictionary.host(batch.key.host, batch.received_unix_ns)
            devices = dictionary.inventory(host, batch.tables)
            stream = book.number(batch.key)
            self.entries.append((stream, batch.key.sequence, batch.digest))
            for kind in KEPT:
                table = batch.tables.get(kind)
                if table is not None and table.rows:
                    owners = (
                        np.full(table.rows, host, dtype="<u4")
                        if kind is SectionKind.HOST_SECOND
                        else devices[table["device"]]
                    )
                    if kind is SectionKind.DEVICE_WINDOW:
                        table = dictionary.held(owners, table)
                    gathered[kind].append(Rows(owners, table))
            if SectionKind.WORKLOAD in batch.tables:
                self._minutes += workloads.packed(host, batch.tables[SectionKind.WORKLOAD])
            if batch.tables.keys() & {SectionKind.SENSOR, SectionKind.ABSENT, SectionKind.AGENT}:
                sequence = batch.key.sequence.to_bytes(8)
                self._statuses.append(
                    _Status(host, stream, sequence, devices.tolist(), batch.tables)
                )
        self.parts = [
            _part(self.received_unix_ns, concatenate(parts), dictionary)
            for parts in gathered.values()
            if parts
        ]
        starts = [rows.table["start_unix_ns"] for parts in gathered.values() for rows in parts]
        self._span = (
            min((int(some.min()) for some in starts), default=self.received_unix_ns),
            max((int(some.max()) for some in starts), default=self.received_unix_ns),
        )
        for kind, parts in gathered.items():
            self.counted[_COUNTED[kind]] = sum(map(len, parts))
        for part in gathered[SectionKind.DEVICE_WINDOW]:
            root = part.table["flags"] & Flag.ROOT != 0
            self.counted["root_energy_uj"] += sum(part.table["energy_uj"][root].tolist())

    def counted_as(self, number: int) -> Commit:
        """Return what ``tally`` remembers of this commit."""
        return Commit(number, self.received_unix_ns, *self._span)

    def save(self, connection: sqlite3.Connection) -> None:
        """Write parts, minutes of workloads, statuses and totals in the caller's transaction."""
        connection.executemany(
            "INSERT INTO part (received, kind, rows, start_min, start_max, hosts, data) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            self.parts,
        )
        workloads.save(connection, self._minutes)
        for status in self._statuses:
            _save_status(connection, status)
        for name, added in self.counted.items():
            if added:
                set_number(connection, name, number(connection, name) + added)


def _part(received_unix_ns: int, rows: Rows, dictionary: Dictionary) -> tuple[int | bytes, ...]:
    starts = rows.table["start_unix_ns"]
    hosts = np.unique(host_numbers(rows, dictionary)).astype("<u4")
    return (
        received_unix_ns,
        int(rows.kind),
        len(rows),
        int(starts.min()),
        int(starts.max()),
        hosts.tobytes(),
        encode(rows),
    )


def host_numbers(rows: Rows, dictionary: Dictionary) -> np.ndarray:
    """Return the number of the host that each row belongs to."""
    if rows.kind is SectionKind.HOST_SECOND:
        return rows.owners
    return dictionary.hosts_of(rows.owners)


def _save_status(connection: sqlite3.Connection, status: _Status) -> None:
    sensors = status.tables.get(SectionKind.SENSOR)
    absent = status.tables.get(SectionKind.ABSENT)
    newest = (status.host, int(SectionKind.ABSENT), status.stream, status.sequence)
    if absent is not None:
        # The list is whole: what it no longer names is there now.
        connection.execute(
            "DELETE FROM status WHERE host = ? AND kind = ? AND (stream <> ? OR sequence < ?)",
            newest,
        )
    elif sensors is not None:
        connection.executemany(
            "DELETE FROM status WHERE host = ? AND kind = ? AND (stream <> ? OR sequence < ?) "
            "AND key = ?",
            [(*newest, key) for key in np.unique(sensors["interface"]).tolist()],
        )
    for kind, table in status.tables.items():
        if kind in (SectionKind.SENSOR, SectionKind.ABSENT, SectionKind.AGENT):
            connection.executemany(
                _NEWER,
                [
                    (status.host, int(kind), key, status.stream, status.sequence, row)
                    for key, row in _status_rows(kind, table, status.devices)
                ],
            )


def _status_rows(kind: SectionKind, table: Table, devices: Sequence[int]) -> list[tuple[int, str]]:
    rows = []
    first = table.rows - 1 if kind is SectionKind.AGENT else 0
    for index in range(first, table.rows):
        row = row_values(table, index)
        key = 0
        if kind is SectionKind.SENSOR:
            row["device"] = devices[row["device"]]
            key = row["device"] << 24 | row["domain"] << 16
            key |= row["statistic"] << 8 | row["interface"]
        elif kind is SectionKind.ABSENT:
            key = row["interface"]
        rows.append((key, json.dumps(row, separators=(",", ":"))))
    return rows
