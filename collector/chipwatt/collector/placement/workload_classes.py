"""Which class each workload was bound with last, as its minutes told.

As many workloads are kept as fit, by when they were first heard of. One that is
forgotten while it runs is known again from its next minute on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

MAX_WORKLOADS = 500_000
"""About 50 MB on the disk; nothing of it is held in memory."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS workload_class (
  id INTEGER PRIMARY KEY, workload_id BLOB NOT NULL UNIQUE, class_id BLOB NOT NULL,
  last_seen_unix_ns INTEGER NOT NULL);
"""
Seen = tuple[bytes, bytes, int]
"""Workload, its class, and the start of the minute that said so."""


def save(connection: sqlite3.Connection, seen: Iterable[Seen]) -> None:
    """Note the classes of workloads in the caller's transaction; late minutes change nothing."""
    connection.executemany(
        "INSERT INTO workload_class (workload_id, class_id, last_seen_unix_ns) VALUES (?, ?, ?) "
        "ON CONFLICT (workload_id) DO UPDATE SET class_id = excluded.class_id, "
        "last_seen_unix_ns = excluded.last_seen_unix_ns "
        "WHERE excluded.last_seen_unix_ns >= last_seen_unix_ns",
        seen,
    )
    connection.execute(
        "DELETE FROM workload_class WHERE id <= (SELECT max(id) FROM workload_class) - ?",
        (MAX_WORKLOADS,),
    )


def class_of(connection: sqlite3.Connection, workload_id: bytes) -> bytes | None:
    """Return the class of a workload; None: not heard of, or never with a class."""
    row = connection.execute(
        "SELECT class_id FROM workload_class WHERE workload_id = ?", (workload_id,)
    ).fetchone()
    return bytes(row[0]) if row else None
