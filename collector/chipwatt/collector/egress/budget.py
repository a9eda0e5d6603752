"""How much of its privacy a workload has spent today, on disk before anything leaves.

A day is one of UTC. Spending is committed and synced first: what a crash then keeps
from leaving is lost to the reader, never to the tenant. A clock that is set back finds
the day as spent as it was; days older than a week are forgotten.
"""

from __future__ import annotations

import threading
from pathlib import Path

from chipwatt.collector.store.faults import told
from chipwatt.collector.store.sqlite_file import connect, writing
from chipwatt.core.clock import NS_PER_S

DAY_NS = 86_400 * NS_PER_S
_KEPT_DAYS = 7
_SCHEMA = """
CREATE TABLE IF NOT EXISTS spent (
  day INTEGER NOT NULL, workload_id BLOB NOT NULL, epsilon INTEGER NOT NULL,
  PRIMARY KEY (day, workload_id)) WITHOUT ROWID;
"""


class Budget:
    """The books of one collector's releases. Safe between threads; opening raises StoreError."""

    def __init__(self, path: Path, daily_epsilon: int) -> None:
        self._path = path
        self._daily_epsilon = daily_epsilon
        self._lock = threading.Lock()
        self.refused = 0
        """Releases that were not made since the start, for want of budget."""
        with told(path, "open the privacy budget"):
            self._connection = connect(path, create=True, write=True)
            try:
                self._connection.executescript(_SCHEMA)
            except BaseException:
                self._connection.close()
                raise

    def spend(self, workload_id: bytes, epsilon: int, now_unix_ns: int) -> bool:
        """Spend ``epsilon`` of the workload's day; False: it is spent, and nothing may leave.

        Raises StoreError where that cannot be kept, and then nothing may leave either.
        """
        day = now_unix_ns // DAY_NS
        with (
            self._lock,
            told(self._path, "spend privacy budget"),
            writing(self._connection) as books,
        ):
            books.execute("DELETE FROM spent WHERE day < ?", (day - _KEPT_DAYS,))
            row = books.execute(
                "SELECT epsilon FROM spent WHERE day = ? AND workload_id = ?",
                (day, workload_id),
            ).fetchone()
            spent = epsilon + (row[0] if row else 0)
            if spent > self._daily_epsilon:
                self.refused += 1
                return False
            books.execute("REPLACE INTO spent VALUES (?, ?, ?)", (day, workload_id, spent))
        return True

    def close(self) -> None:
        """Close the file; everything spent is on it."""
        with self._lock:
            self._connection.close()
