"""Reservations on disk: one SQLite file whose commits survive a power cut.

Every change is one transaction in WAL mode with ``synchronous=FULL``. What has
ended stays for a week, or until 100,000 newer ones have ended, so that a request
that is sent again finds its answer.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from chipwatt.collector.placement.reservation import LIVE, Reservation, ReservationState
from chipwatt.collector.store.faults import told
from chipwatt.collector.store.sqlite_file import connect, writing
from chipwatt.core.clock import NS_PER_S

KEPT_S = 7 * 86_400
KEPT_ENDED = 100_000
_COLUMNS = (
    "id", "key", "node_id", "body", "power_mw", "priority", "state", "created_unix_ns",
    "expires_unix_ns", "grants", "workload", "committed_unix_ns", "ended_unix_ns",
)  # fmt: skip
_SCHEMA = """
CREATE TABLE IF NOT EXISTS reservation (
  id TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE, node_id TEXT NOT NULL, body BLOB NOT NULL,
  power_mw INTEGER NOT NULL, priority INTEGER NOT NULL, state INTEGER NOT NULL,
  created_unix_ns INTEGER NOT NULL, expires_unix_ns INTEGER NOT NULL, grants TEXT NOT NULL,
  workload BLOB NOT NULL, committed_unix_ns INTEGER NOT NULL, ended_unix_ns INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS reservation_state ON reservation (state, created_unix_ns);
CREATE INDEX IF NOT EXISTS reservation_node ON reservation (node_id, state);
CREATE INDEX IF NOT EXISTS reservation_ended ON reservation (ended_unix_ns);
"""
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM reservation"  # noqa: S608 - names of this module
_PUT = (
    f"INSERT INTO reservation ({', '.join(_COLUMNS)}) "  # noqa: S608 - names of this module
    f"VALUES ({', '.join('?' * len(_COLUMNS))}) ON CONFLICT (id) DO UPDATE SET "
    "state = excluded.state, workload = excluded.workload, "
    "committed_unix_ns = excluded.committed_unix_ns, ended_unix_ns = excluded.ended_unix_ns"
)


class ReservationFile:
    """The table. Safe between threads; every method raises StoreError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with told(path, "open the reservations"):
            self._connection = connect(path, create=True, write=True)
            try:
                self._connection.executescript(_SCHEMA)
            except BaseException:
                self._connection.close()
                raise

    def put(self, reservations: Iterable[Reservation]) -> None:
        """Write all or nothing; on return they survive a power cut."""
        rows = [_row(reservation) for reservation in reservations]
        if not rows:
            return
        with self._lock, told(self._path, "keep a reservation"), writing(self._connection) as to:
            to.executemany(_PUT, rows)

    def by_id(self, reservation_id: str) -> Reservation | None:
        found = self._read("WHERE id = ?", reservation_id)
        return found[0] if found else None

    def by_key(self, key: str) -> Reservation | None:
        found = self._read("WHERE key = ?", key)
        return found[0] if found else None

    def live(self) -> list[Reservation]:
        """Return what is held or committed, oldest first."""
        return self._read("WHERE state IN (?, ?) ORDER BY created_unix_ns, id", *LIVE)

    def in_state(self, state: ReservationState, node_id: str, limit: int) -> list[Reservation]:
        """Return at most ``limit`` in a state, oldest first; of one node, or with "" of all."""
        where, of_node = ("AND node_id = ?", (node_id,)) if node_id else ("", ())
        return self._read(
            f"WHERE state = ? {where} ORDER BY created_unix_ns, id LIMIT ?", state, *of_node, limit
        )

    def priorities(self) -> dict[str, int]:
        """Return by node id the highest priority of what was committed there and runs still."""
        with self._lock, told(self._path, "read reservations"):
            found = self._connection.execute(
                "SELECT node_id, MAX(priority) FROM reservation WHERE state IN (?, ?) "
                "GROUP BY node_id",
                (ReservationState.COMMITTED, ReservationState.ABSORBED),
            )
            return dict(found.fetchall())

    def forget(self, now_unix_ns: int) -> None:
        """Delete what ended too long ago."""
        before = now_unix_ns - KEPT_S * NS_PER_S
        with self._lock, told(self._path, "drop reservations"), writing(self._connection) as to:
            to.execute(
                "DELETE FROM reservation WHERE ended_unix_ns > 0 AND (ended_unix_ns < ? OR id IN "
                "(SELECT id FROM reservation WHERE ended_unix_ns > 0 "
                "ORDER BY ended_unix_ns DESC LIMIT -1 OFFSET ?))",
                (before, KEPT_ENDED),
            )

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _read(self, where: str, *values: object) -> list[Reservation]:
        with self._lock, told(self._path, "read reservations"):
            rows = self._connection.execute(f"{_SELECT} {where}", values).fetchall()
        return [_reservation(row) for row in rows]


def _row(of: Reservation) -> tuple[Any, ...]:
    values = {name: getattr(of, name) for name in _COLUMNS}
    return tuple((values | {"grants": json.dumps(of.grants)}).values())


def _reservation(row: tuple[Any, ...]) -> Reservation:
    values = dict(zip(_COLUMNS, row, strict=True))
    grants = tuple((node, mw) for node, mw in json.loads(values["grants"]))
    return Reservation(**(values | {"grants": grants, "state": ReservationState(values["state"])}))
