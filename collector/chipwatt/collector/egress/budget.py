"""How much of its privacy a workload has spent today, on disk before anything leaves.

A day is one of UTC. Spending is committed and synced first: what a crash then keeps
from leaving is lost to the reader, never to the tenant. A clock that is set back finds
the day as spent as it was. Days are forgotten that are older than a week and than the
last seven that are known, so that a leap of the clock into the future forgets nothing.
Books that are gone are begun anew with their first day spent: what it had left is not known.
"""

from __future__ import annotations

import threading
from pathlib import Path

from chipwatt.collector.store.faults import told
from chipwatt.collector.store.sqlite_file import connect, writing
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.log import get

DAY_NS = 86_400 * NS_PER_S
_KEPT_DAYS = 7
_SCHEMA = """
CREATE TABLE IF NOT EXISTS spent (
  day INTEGER NOT NULL, workload_id BLOB NOT NULL, epsilon INTEGER NOT NULL,
  PRIMARY KEY (day, workload_id)) WITHOUT ROWID;
"""
_EVERYBODY = b""
"""Whose spending is everybody's."""
_FORGET = """
DELETE FROM spent WHERE day < :before AND day NOT IN
  (SELECT DISTINCT day FROM spent ORDER BY day DESC LIMIT :kept)
"""
_log = get(__name__)


class Budget:
    """The books of one collector's releases. Safe between threads; opening raises StoreError."""

    def __init__(self, path: Path, daily_epsilon: int, lost_unix_ns: int | None = None) -> None:
        """Open the books; where they do not exist, the day of ``lost_unix_ns`` counts as spent."""
        self._path = path
        is_lost = lost_unix_ns is not None and not path.exists()
        self._swept_day = -1
        self._daily_epsilon = daily_epsilon
        self._lock = threading.Lock()
        self.refused = 0
        """Releases that were not made since the start, for want of budget."""
        with told(path, "open the privacy budget"):
            self._connection = connect(path, create=True, write=True)
            try:
                self._connection.executescript(_SCHEMA)
                if is_lost and lost_unix_ns is not None:
                    self._spend_all(lost_unix_ns // DAY_NS)
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
            if day != self._swept_day:
                books.execute(_FORGET, {"before": day - _KEPT_DAYS, "kept": _KEPT_DAYS})
                self._swept_day = day
            (before,) = books.execute(
                "SELECT coalesce(max(epsilon), 0) FROM spent "
                "WHERE day = ? AND workload_id IN (?, ?)",
                (day, workload_id, _EVERYBODY),
            ).fetchone()
            spent = epsilon + before
            if spent > self._daily_epsilon:
                self.refused += 1
                return False
            books.execute("REPLACE INTO spent VALUES (?, ?, ?)", (day, workload_id, spent))
        return True

    def _spend_all(self, day: int) -> None:
        _log.warning(
            "no privacy budget is left today: its books are not there, though workloads were "
            "exported before; it begins anew at 00:00 UTC",
            path=str(self._path),
        )
        with writing(self._connection) as books:
            books.execute("INSERT INTO spent VALUES (?, ?, ?)", (day, _EVERYBODY, 1 << 62))

    def close(self) -> None:
        """Close the file; everything spent is on it."""
        with self._lock:
            self._connection.close()
