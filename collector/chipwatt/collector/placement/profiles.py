"""Profiles of workload classes: what they draw by model of hardware, learned from windows.

A window says no more of a workload than G2 lets through: eight power classes up to
the limit of its chips, each in parts of 1/32 of the time, energy in steps, and a swing
class. Sums of such windows are kept and none of the windows, a row of fixed size a
class and model. A class is served from its fifth window on. Past a thousand windows
what is old counts half, so that a class that has changed is seen to change.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chipwatt.collector.placement import workload_classes
from chipwatt.collector.placement.class_sums import OCCUPANCY_PARTS, POWER_CLASSES, ClassSums
from chipwatt.collector.placement.demand import MAX_SWING
from chipwatt.collector.placement.phases import ClassProfile, profile_of
from chipwatt.collector.store.faults import told
from chipwatt.collector.store.sqlite_file import connect, writing
from chipwatt.core.coarse import NOBODY
from chipwatt.core.columns import MAX_POWER_MW

MIN_WINDOWS = 5
MAX_PROFILES = 8_192
"""Pairs of class and hardware; beyond, those that were not seen for longest are forgotten."""
MIN_WINDOW_NS = 60_000_000_000
MAX_WINDOW_NS = 10 * MIN_WINDOW_NS
"""As far as a full spool merges."""
_MOST_OVER_LIMIT = 2
"""Chips exceed their limit for a moment, never by as much over a minute."""
MAX_HW_CLASS = 64
_SCHEMA = """
CREATE TABLE IF NOT EXISTS class_profile (
  class_id BLOB NOT NULL, hw_class TEXT NOT NULL, last_seen_unix_ns INTEGER NOT NULL,
  sums BLOB NOT NULL, PRIMARY KEY (class_id, hw_class)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS class_learned (
  id INTEGER PRIMARY KEY CHECK (id = 0), position INTEGER NOT NULL);
"""
_Key = tuple[bytes, str]


@dataclass(frozen=True, slots=True)
class WorkloadWindow:
    """A minute or more of one workload, as coarse as it may leave its host.

    Raises ValueError where it is not of the fixed shape.
    """

    class_id: bytes
    """Sixteen bytes, issued by the scheduler."""
    hw_class: str
    """As in the topology: the model of the chips."""
    start_unix_ns: int
    duration_ns: int
    energy_uj: int
    """In steps, of all chips that the workload holds."""
    occupancy: tuple[int, ...]
    """Thirty-seconds of the time in each eighth of the power up to ``limit_mw``, lowest first."""
    swing_class: int
    """0 none, 1 weak, 2 clear, 3 strong."""
    limit_mw: int
    """Power limit of all chips that the workload holds."""
    workload_id: bytes = NOBODY
    """Sixteen bytes; zeros: whose it is was not told."""

    def __post_init__(self) -> None:
        for name, given in (("class", self.class_id), ("workload", self.workload_id)):
            if len(given) != 16:
                raise ValueError(f"{name} id of {len(given)} bytes, not 16")
        if len(self.hw_class) > MAX_HW_CLASS:
            raise ValueError(f"hw_class of {len(self.hw_class)} characters, at most {MAX_HW_CLASS}")
        if not MIN_WINDOW_NS <= self.duration_ns <= MAX_WINDOW_NS:
            raise ValueError(f"window of {self.duration_ns} ns, not one to ten minutes")
        if not 0 <= self.start_unix_ns < 1 << 62:
            raise ValueError(f"window that starts at {self.start_unix_ns} ns")
        if not 0 < self.limit_mw <= MAX_POWER_MW:
            raise ValueError(f"limit of {self.limit_mw} mW, at most {MAX_POWER_MW}")
        if not 0 <= self.mean_mw <= _MOST_OVER_LIMIT * self.limit_mw:
            raise ValueError(f"{self.energy_uj} uJ under a limit of {self.limit_mw} mW")
        parts = len(self.occupancy) == POWER_CLASSES and min(self.occupancy) >= 0
        if not parts or sum(self.occupancy) != OCCUPANCY_PARTS:
            raise ValueError(f"occupancy {self.occupancy} is not {POWER_CLASSES} parts of 32")
        if not 0 <= self.swing_class <= MAX_SWING:
            raise ValueError(f"swing class {self.swing_class}")

    @property
    def peak_class(self) -> int:
        """Return the highest power class with any time in it."""
        return max(k for k, part in enumerate(self.occupancy) if part)

    @property
    def mean_mw(self) -> int:
        """Return the mean power over the window."""
        return self.energy_uj * 1_000_000 // self.duration_ns


class Profiles:
    """What is known of classes, in memory and on ``path``. Safe between threads.

    Opening and learning raise StoreError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._sums: dict[_Key, ClassSums] = {}
        self.position = 0
        """Up to where the store's minutes of workloads are learned."""
        with told(path, "open the class profiles"):
            self._connection = connect(path, create=True, write=True)
            try:
                self._connection.executescript(_SCHEMA + workload_classes.SCHEMA)
                kept = "SELECT class_id, hw_class, sums FROM class_profile ORDER BY 1, 2"
                for class_id, hw_class, row in self._connection.execute(kept):
                    self._sums[class_id, hw_class] = ClassSums.unpack(row)
                for (position,) in self._connection.execute("SELECT position FROM class_learned"):
                    self.position = position
            except BaseException:
                self._connection.close()
                raise

    def learn(self, windows: Iterable[WorkloadWindow], *, position: int | None = None) -> None:
        """Add windows to their classes, on their hardware and on all together.

        ``position`` is kept with them: up to where the store was read for that.
        """
        with self._lock:
            touched: dict[_Key, ClassSums] = {}
            seen = []
            for window in windows:
                if window.workload_id != NOBODY:
                    seen.append((window.workload_id, window.class_id, window.start_unix_ns))
                for hw_class in {window.hw_class, ""}:
                    key = (window.class_id, hw_class)
                    sums = touched[key] = self._sums.setdefault(key, ClassSums())
                    sums.add(window)
            if touched or position is not None:
                self._write(touched, seen, self.position if position is None else position)

    def profile(self, class_id: bytes, hw_class: str) -> ClassProfile | None:
        """Return a class on one model, or with "" on all; None: fewer than five windows."""
        with self._lock:
            sums = self._sums.get((class_id, hw_class))
            if sums is None or sums.windows < MIN_WINDOWS:
                return None
            return profile_of(class_id, hw_class, sums)

    def class_of(self, workload_id: bytes) -> bytes | None:
        """Return the class of a workload that was learned of; None: it was not."""
        with self._lock, told(self._path, "look up the class of a workload"):
            return workload_classes.class_of(self._connection, workload_id)

    def all(self, hw_class: str | None = None) -> Iterator[ClassProfile]:
        """Yield every class with five windows, on one model, or None: on each; by id."""
        with self._lock:
            keys = sorted(self._sums)
        for class_id, model in keys:
            if hw_class in (None, model):
                found = self.profile(class_id, model)
                if found is not None:
                    yield found

    def close(self) -> None:
        """Close the file; everything learned is on it."""
        with self._lock:
            self._connection.close()

    def _write(
        self, touched: dict[_Key, ClassSums], seen: Iterable[workload_classes.Seen], position: int
    ) -> None:
        forgotten = self._forget()
        rows = [
            (*key, sums.last_seen_unix_ns, sums.pack())
            for key, sums in touched.items()
            if key in self._sums
        ]
        with told(self._path, "keep class profiles"), writing(self._connection) as connection:
            connection.executemany(
                "DELETE FROM class_profile WHERE class_id = ? AND hw_class = ?", forgotten
            )
            connection.executemany("REPLACE INTO class_profile VALUES (?, ?, ?, ?)", rows)
            workload_classes.save(connection, seen)
            connection.execute("REPLACE INTO class_learned VALUES (0, ?)", (position,))
        self.position = position

    def _forget(self) -> list[_Key]:
        """Drop what was not seen for longest, where there are too many."""
        over = len(self._sums) - MAX_PROFILES
        if over <= 0:
            return []
        oldest = sorted(self._sums, key=lambda key: (self._sums[key].last_seen_unix_ns, key))
        for key in oldest[:over]:
            del self._sums[key]
        return oldest[:over]
