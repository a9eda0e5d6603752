"""What became of placements, as schedulers report it: counted for good, judged over a week.

One report a placement: the last one stays. Outcomes are kept for a month.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chipwatt.collector.answering import invalid
from chipwatt.collector.forecast.alpha import SCORED
from chipwatt.collector.placement.topology import WHOLE_PPM
from chipwatt.collector.store.faults import told
from chipwatt.collector.store.sqlite_file import connect, writing
from chipwatt.core.clock import NS_PER_S

MIN_REPORTS = 20
"""Reports from which on a share of them says something."""
MAX_HOST_ID = 256
_PLACEMENT = re.compile(r"(\d{6})-(\d{2,5})-[0-9a-f]{24}")
_DAY_NS = 86_400 * NS_PER_S
_WEEK_DAYS = 7
_KEPT_DAYS = 30
_SCORED_PPM = tuple(round(quantile * WHOLE_PPM) for quantile in SCORED)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS placement_feedback (
  placement_id TEXT PRIMARY KEY, day INTEGER NOT NULL, quantile_ppm INTEGER NOT NULL,
  host_id TEXT NOT NULL, capped INTEGER NOT NULL, violated INTEGER NOT NULL,
  throttled_s INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS placement_feedback_day ON placement_feedback (day, quantile_ppm);
CREATE TABLE IF NOT EXISTS feedback_count (id INTEGER PRIMARY KEY CHECK (id = 0), count INTEGER);
INSERT OR IGNORE INTO feedback_count VALUES (0, 0);
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one placement."""

    placement_id: str
    host_id: str
    """Where it went; empty: nowhere that was ranked."""
    capped: bool
    violated: bool
    """A budget above it was exceeded."""
    throttled_s: int


@dataclass(frozen=True, slots=True)
class Held:
    """How placements at a quantile have held over the last seven days."""

    held_ppm: int
    reports: int


class Feedback:
    """Outcomes on ``path``. Safe between threads; opening and submitting raise StoreError."""

    def __init__(self, path: Path, unix_ns: Callable[[], int]) -> None:
        self._path = path
        self._unix_ns = unix_ns
        self._lock = threading.Lock()
        self._days: dict[tuple[int, int], list[int]] = {}
        """Reports and violations by day and scored quantile."""
        with told(path, "open the feedback"):
            self._connection = connect(path, create=True, write=True)
            try:
                self._connection.executescript(_SCHEMA)
                kept = "SELECT day, quantile_ppm, count(*), sum(violated) FROM placement_feedback "
                kept += "WHERE day > ? GROUP BY day, quantile_ppm"
                rows = self._connection.execute(kept, (self._today() - _WEEK_DAYS,))
                self._days = {(day, q): [count, bad] for day, q, count, bad in rows}
            except BaseException:
                self._connection.close()
                raise

    def submit(self, outcome: Outcome) -> int:
        """Keep an outcome; return of how many placements one was ever kept. Raises Refused."""
        told_by = _PLACEMENT.fullmatch(outcome.placement_id)
        if told_by is None:
            raise invalid(
                f"placement_id: {outcome.placement_id[:80]!r} is none that RankCandidates gives"
            )
        if len(outcome.host_id) > MAX_HOST_ID:
            raise invalid(f"chosen_host_id: longer than {MAX_HOST_ID} characters")
        quantile_ppm = nearest_scored_ppm(int(told_by[1]))
        today = self._today()
        row = (
            outcome.placement_id, today, quantile_ppm, outcome.host_id, outcome.capped,
            outcome.violated, outcome.throttled_s,
        )  # fmt: skip
        with self._lock, told(self._path, "keep feedback"):
            with writing(self._connection) as connection:
                old = connection.execute(
                    "SELECT day, quantile_ppm, violated FROM placement_feedback "
                    "WHERE placement_id = ?",
                    row[:1],
                ).fetchone()
                connection.execute(
                    "REPLACE INTO placement_feedback VALUES (?, ?, ?, ?, ?, ?, ?)", row
                )
                connection.execute("UPDATE feedback_count SET count = count + ?", (old is None,))
                connection.execute(
                    "DELETE FROM placement_feedback WHERE day < ?", (today - _KEPT_DAYS,)
                )
                (count,) = connection.execute("SELECT count FROM feedback_count").fetchone()
            if old is not None:
                self._book(old[0], old[1], -1, -old[2])
            self._book(today, quantile_ppm, 1, int(outcome.violated))
        return int(count)

    def held(self, quantile_ppm: int) -> Held | None:
        """Return how placements at the nearest scored quantile held; None: too few reports."""
        wanted, first = nearest_scored_ppm(quantile_ppm), self._today() - _WEEK_DAYS
        with self._lock:
            days = [v for (day, q), v in self._days.items() if q == wanted and day > first]
        reports, violations = sum(v[0] for v in days), sum(v[1] for v in days)
        if reports < MIN_REPORTS:
            return None
        return Held((reports - violations) * WHOLE_PPM // reports, reports)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _book(self, day: int, quantile_ppm: int, reports: int, violations: int) -> None:
        for passed in [key for key in self._days if key[0] <= day - _KEPT_DAYS]:
            del self._days[passed]
        counts = self._days.setdefault((day, quantile_ppm), [0, 0])
        counts[0] += reports
        counts[1] += violations

    def _today(self) -> int:
        return self._unix_ns() // _DAY_NS


def nearest_scored_ppm(quantile_ppm: int) -> int:
    """Return the quantile whose outcomes are counted together with this one."""
    return min(_SCORED_PPM, key=lambda scored: abs(scored - quantile_ppm))
