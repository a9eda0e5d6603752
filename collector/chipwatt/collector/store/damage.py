"""What of the store cannot be read back: noted once, kept, and told to whoever asks.

A loss names its place (a block, a part, a file) and bounds what was there: which
kind of rows, of which hosts, and when they start. ``lost`` makes gaps of it.
Losses are written with the next compaction; what a crash takes before is
found again by whoever reads the place again.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chipwatt.collector.store.catalogue import Catalogue
from chipwatt.collector.store.config import HOSTS_A_SHARD
from chipwatt.core.columns import SectionKind
from chipwatt.core.log import get

_log = get(__name__)


@dataclass(frozen=True, slots=True)
class Loss:
    """Rows that were stored and cannot be read."""

    place: str
    start_min: int
    """When the first of the rows starts, unix ns; for some places a bound."""
    start_max: int
    kind: SectionKind | None = None
    """None: of every kind."""
    hosts: bytes = b""
    """Numbers of the hosts whose rows may be among them, ``<u4``; empty: any."""

    def concerns(self, host: int) -> bool:
        """Return whether rows of this host may be lost."""
        return not self.hosts or host in np.frombuffer(self.hosts, "<u4")


def hosts_of_shard(shard: int) -> bytes:
    """Return the numbers of a shard's hosts, as ``Loss.hosts`` has them."""
    first = shard * HOSTS_A_SHARD
    return np.arange(first, first + HOSTS_A_SHARD).astype("<u4").tobytes()


class Damage:
    """Every loss that is known; safe in any number of threads."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._lock = threading.Lock()
        self._unsaved: list[Loss] = []
        self._costless: set[str] = set()
        self._suspects: set[Path] = set()
        with catalogue.reading() as connection:
            rows = connection.execute(
                "SELECT place, start_min, start_max, kind, hosts FROM damage"
            ).fetchall()
        self._losses = {
            place: Loss(place, first, last, SectionKind(kind) if kind else None, hosts)
            for place, first, last, kind, hosts in rows
        }

    @property
    def count(self) -> int:
        """Places that cannot be read, and since the start those that cost no energy."""
        return len(self._losses) + len(self._costless)

    def lose(self, loss: Loss, reason: str, *, suspect: Path | None = None) -> None:
        """Take note of a loss, the first time it is seen; ``suspect`` is a file to look through."""
        with self._lock:
            if suspect is not None:
                self._suspects.add(suspect)
            if loss.place in self._losses:
                return
            self._losses[loss.place] = loss
            self._unsaved.append(loss)
        _log.warning("stored rows cannot be read and are left out", place=loss.place, reason=reason)

    def repaired(self, place: str, reason: str) -> None:
        """Take note of damage that is undone."""
        self._tell("damage in the store is repaired", place, reason)

    def forgotten(self, place: str, reason: str) -> None:
        """Take note of damage to what is no energy, or of which nobody knows what it hit."""
        self._tell("part of the store's catalogue is damaged", place, reason)

    def _tell(self, event: str, place: str, reason: str) -> None:
        with self._lock:
            if place in self._costless:
                return
            self._costless.add(place)
        _log.warning(event, place=place, reason=reason)

    def suspects(self) -> set[Path]:
        """Return the files that were found damaged since the last call."""
        with self._lock:
            found, self._suspects = self._suspects, set()
        return found

    def of(self, host: int, start_unix_ns: int, end_unix_ns: int) -> list[Loss]:
        """Return what is lost of a host's rows that start in [start, end), by time."""
        with self._lock:
            losses = list(self._losses.values())
        found = [
            loss
            for loss in losses
            if loss.start_max >= start_unix_ns
            and loss.start_min < end_unix_ns
            and loss.concerns(host)
        ]
        return sorted(found, key=lambda loss: loss.start_min)

    def save(self) -> None:
        """Write what is not written yet. Raises StoreError."""
        with self._lock:
            unsaved = list(self._unsaved)
        if not unsaved:
            return
        with self._catalogue.writing("keep what is damaged") as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO damage VALUES (?, ?, ?, ?, ?)",
                [(x.place, x.start_min, x.start_max, int(x.kind or 0), x.hosts) for x in unsaved],
            )
        with self._lock:
            del self._unsaved[: len(unsaved)]

    def forget(self, before_unix_ns: int) -> None:
        """Drop losses of which nothing would be kept any more. Raises StoreError."""
        with self._lock:
            old = [x.place for x in self._losses.values() if x.start_max < before_unix_ns]
        if not old:
            return
        with self._catalogue.writing("forget what was damaged") as connection:
            connection.executemany("DELETE FROM damage WHERE place = ?", [(x,) for x in old])
        with self._lock:
            for place in old:
                del self._losses[place]
