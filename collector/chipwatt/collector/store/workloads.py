"""Minutes of workloads: what each host said of its workloads, a row a host and minute.

The first that is said of a minute stays. Rows that stand for nobody are not kept.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from chipwatt.collector.store.catalogue import Catalogue
from chipwatt.collector.store.dictionary import Dictionary
from chipwatt.core.coarse import WINDOW_NS
from chipwatt.core.model import Attribution
from chipwatt.core.records import WorkloadWindow
from chipwatt.core.tables import Table, row_values
from chipwatt.core.workload_rows import workload_from_row

_ROW: Final = struct.Struct("<16s16sIBBB8B")
Packed = tuple[int, int, bytes]
"""Number of the host, start of the minute, its rows."""


@dataclass(frozen=True, slots=True)
class Minute:
    """What one host said of one minute."""

    position: int
    """Grows with every minute that is stored; what a cursor keeps."""
    host: bytes
    windows: tuple[WorkloadWindow, ...]


def packed(host: int, table: Table) -> Iterator[Packed]:
    """Yield the minutes of a WORKLOAD table."""
    starts = table["start_unix_ns"]
    told = table["limit_mw"] > 0
    for start in np.unique(starts[told]).tolist():
        rows = np.flatnonzero(told & (starts == start)).tolist()
        windows = (workload_from_row(row_values(table, row)) for row in rows)
        yield host, start, b"".join(map(_pack, windows))


def save(connection: sqlite3.Connection, minutes: Sequence[Packed]) -> None:
    """Write minutes in the caller's transaction."""
    connection.executemany(
        "INSERT OR IGNORE INTO workload_minute (host, start, data) VALUES (?, ?, ?)", minutes
    )


class Workloads:
    """The reading half, and what retention does; safe between threads. Raises StoreError."""

    def __init__(self, catalogue: Catalogue, dictionary: Dictionary) -> None:
        self._catalogue = catalogue
        self._dictionary = dictionary

    def newest(self) -> int:
        """Return the position of the newest minute that was ever stored; 0: none was."""
        with self._catalogue.reading() as connection:
            row = connection.execute(
                "SELECT seq FROM sqlite_sequence WHERE name = 'workload_minute'"
            ).fetchone()
        return int(row[0]) if row else 0

    def follow(self, after: int, *, limit: int = 1000) -> list[Minute]:
        """Return up to ``limit`` minutes stored after position ``after``, in order."""
        return self._select("id > ? ORDER BY id LIMIT ?", (after, limit))

    def minutes(
        self, host: bytes, start_unix_ns: int, end_unix_ns: int, *, limit: int = 10_000
    ) -> list[Minute]:
        """Return what a host said of the minutes that start in [start, end)."""
        number = self._dictionary.host_numbers.get(host)
        if number is None:
            return []
        where = "host = ? AND start >= ? AND start < ? ORDER BY start LIMIT ?"
        return self._select(where, (number, start_unix_ns, end_unix_ns, limit))

    def forget(self, before_unix_ns: int) -> None:
        """Delete what began before."""
        with self._catalogue.writing("forget minutes of workloads") as connection:
            connection.execute("DELETE FROM workload_minute WHERE start < ?", (before_unix_ns,))

    def _select(self, where: str, values: tuple[int, ...]) -> list[Minute]:
        with self._catalogue.reading() as connection:
            rows = connection.execute(
                f"SELECT id, host, start, data FROM workload_minute WHERE {where}",  # noqa: S608 - our own clauses
                values,
            ).fetchall()
        hosts = self._dictionary.hosts
        return [
            Minute(position, hosts[host].host, _unpacked(start, data))
            for position, host, start, data in rows
        ]


def _pack(window: WorkloadWindow) -> bytes:
    return _ROW.pack(
        window.workload_id,
        window.class_id,
        window.limit_mw,
        window.attribution,
        window.energy_steps,
        window.swing_class,
        *window.occupancy,
    )


def _unpacked(start_unix_ns: int, data: bytes) -> tuple[WorkloadWindow, ...]:
    return tuple(
        WorkloadWindow(
            workload_id=workload_id,
            class_id=class_id,
            start_unix_ns=start_unix_ns,
            duration_ns=WINDOW_NS,
            attribution=Attribution(attribution),
            limit_mw=limit_mw,
            energy_steps=energy_steps,
            occupancy=tuple(occupancy),
            swing_class=swing_class,
        )
        for (
            workload_id, class_id, limit_mw, attribution, energy_steps, swing_class, *occupancy,
        ) in _ROW.iter_unpack(data)
    )  # fmt: skip
