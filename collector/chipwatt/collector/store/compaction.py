"""From the journal's parts, in the order they came, to blocks by place and time.

One step takes a stretch of positions, sorts its rows into blocks (a shard of
hosts, a slot of time) and writes those invisibly; one transaction on the
catalogue then makes them count and moves the mark ``moved`` past the stretch.
Before that transaction every row is read from the journal, after it from the
blocks: never from both, never from neither.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from chipwatt.collector.store.block import BlockDamaged, decode
from chipwatt.collector.store.block_file import Placed
from chipwatt.collector.store.catalogue import Catalogue, number, set_number
from chipwatt.collector.store.config import DAY_NS, HOSTS_A_SHARD, MINUTE_NS, StoreConfig
from chipwatt.collector.store.contract import AHEAD_NS
from chipwatt.collector.store.damage import Loss
from chipwatt.collector.store.dictionary import Dictionary
from chipwatt.collector.store.intake import host_numbers
from chipwatt.collector.store.ledger import Ledger
from chipwatt.collector.store.lines import Lines
from chipwatt.collector.store.parts import parts_after
from chipwatt.collector.store.shelf import Shelf
from chipwatt.collector.store.stream_book import FOLD_AT_ONCE, StreamBook, drop, fold, receipts
from chipwatt.core.columns import SectionKind
from chipwatt.core.rows import Rows, concatenate, take
from chipwatt.core.tables import Array

SETTLE_NS = MINUTE_NS
"""Parts younger than this wait, so that one block gets a whole slot of a live host."""
MOST_ROWS = 65_536
"""Rows a step: bounds its memory to some 20 MB and its transaction to some milliseconds."""
MOST_BEHIND_NS = 400 * DAY_NS


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Parts that are moved together."""

    last: int
    rows: dict[SectionKind, tuple[Rows, Array]]
    """Rows and, for each row, when the collector received it."""


class Compactor:
    """Moves settled parts into blocks. One thread at a time, which ``lock`` sees to."""

    def __init__(
        self,
        config: StoreConfig,
        catalogue: Catalogue,
        shelf: Shelf,
        dictionary: Dictionary,
        ledger: Ledger,
        book: StreamBook,
        lines: Lines,
    ) -> None:
        self.lock = threading.RLock()
        """Held during a step; whoever seals a file takes it, too."""
        self._config = config
        self._catalogue = catalogue
        self._shelf = shelf
        self._dictionary = dictionary
        self._ledger = ledger
        self._book = book
        self._lines = lines

    def run(
        self, now_unix_ns: int, kept_unix_ns: int | None = None, settle_ns: int = SETTLE_NS
    ) -> None:
        """Move everything received before ``now - settle``. Raises StoreError.

        ``kept_unix_ns`` is the time that retention takes for now (``pace``).
        """
        kept_unix_ns = now_unix_ns if kept_unix_ns is None else kept_unix_ns
        while self._step(now_unix_ns, settle_ns, kept_unix_ns):
            pass
        with self.lock:
            self._fold()
            self._lines.save(self._catalogue)
        self._shelf.damage.save()
        self._trim(now_unix_ns, kept_unix_ns)

    def _step(self, now_unix_ns: int, settle_ns: int, kept_unix_ns: int) -> bool:
        with self.lock:
            with self._catalogue.reading() as connection:
                stretch = self._read(connection, now_unix_ns - settle_ns, now_unix_ns)
            if stretch is None:
                return False
            draft = self._shelf.begin()
            try:
                finest, coarsest = self._shelf.tiers[0], self._shelf.tiers[-1]
                for kind, (rows, received) in stretch.rows.items():
                    tier = coarsest if kind is SectionKind.GAP else finest
                    starts = rows.table["start_unix_ns"]
                    slots = slots_of(starts, received, kept_unix_ns, tier.slot_ns)
                    shards = host_numbers(rows, self._dictionary) // HOSTS_A_SHARD
                    draft.write(tier, place(rows, shards, slots))
                    if kind is SectionKind.DEVICE_WINDOW:
                        self._ledger.observe(rows)
                    self._lines.observe(rows)
                with self._catalogue.lock:
                    with self._catalogue.writing("compact") as connection:
                        draft.finish(connection)
                        set_number(connection, "moved", stretch.last)
                        self._ledger.save(connection)
                        self._dictionary.save(connection)
                    self._dictionary.saved()
                self._ledger.saved()
            except BaseException:
                draft.abandon()
                with self._catalogue.reading() as connection:
                    self._ledger.reload(connection)
                raise
            return True

    def _read(
        self, connection: sqlite3.Connection, until_unix_ns: int, now_unix_ns: int
    ) -> _Stretch | None:
        """Return what comes next; a part from the future is of a clock that was set back."""
        last, count = 0, 0
        read: dict[SectionKind, list[tuple[Rows, int]]] = {}
        damage = self._shelf.damage
        moved = before = number(connection, "moved")
        edge_ns = 0
        for position, received, part_rows, kind, first, most, hosts, data in parts_after(
            connection, "position, received, rows, kind, start_min, start_max, hosts, data", moved
        ):
            if until_unix_ns < received <= now_unix_ns + AHEAD_NS:
                break
            if count and count + part_rows > MOST_ROWS:
                break
            if position > before + 1:
                place = f"parts {before + 1} to {position - 1}"
                span = (min(edge_ns or first, first), max(edge_ns, most))
                damage.lose(Loss(place, *span), "their pages in the catalogue are damaged")
            last, count, before, edge_ns = position, count + part_rows, position, most
            try:
                rows = decode(data)
            except BlockDamaged as error:
                known = SectionKind(kind) if kind in set(SectionKind) else None
                loss = Loss(f"part {position}", first, most, known, hosts)
                damage.lose(loss, str(error))
                continue
            read.setdefault(rows.kind, []).append((rows, received))
        if not last:
            return None
        joined = {
            kind: (
                concatenate([rows for rows, _ in parts]),
                np.repeat([when for _, when in parts], [len(rows) for rows, _ in parts]),
            )
            for kind, parts in read.items()
        }
        return _Stretch(last, joined)

    def _fold(self) -> None:
        """Add receipts to what dedupe remembers of each stream, some streams at a time."""
        with self._catalogue.reading() as connection:
            done = receipts(connection)
        if not done.newest:
            return
        numbers = list(done.streams)
        for first in range(0, len(numbers), FOLD_AT_ONCE):
            with self._catalogue.writing("fold receipts") as connection:
                fold(connection, done, numbers[first : first + FOLD_AT_ONCE])
        with self._catalogue.lock:
            with self._catalogue.writing("drop receipts") as connection:
                drop(connection, done)
                # When hosts were last heard is in receipts until it is here.
                self._dictionary.save(connection, changes=True)
            self._dictionary.saved(changes=True)
            self._book.folded(done)

    def _trim(self, now_unix_ns: int, kept_unix_ns: int) -> None:
        """Forget moved parts that no reader with a cursor waits for."""
        with self._catalogue.reading() as connection:
            moved = number(connection, "moved")
            slowest = connection.execute("SELECT min(position) FROM cursor").fetchone()[0]
            found = connection.execute(
                "SELECT max(position) FROM part WHERE position <= ?1 AND "
                "(received < ?2 OR received < ?3 AND position <= ?4)",
                (
                    moved,
                    kept_unix_ns - self._config.follow_most,
                    now_unix_ns - self._config.follow_least,
                    moved if slowest is None else slowest,
                ),
            ).fetchone()[0]
        if found is not None:
            with self._catalogue.writing("trim the journal") as connection:
                connection.execute("DELETE FROM part WHERE position <= ?", (found,))


def slots_of(starts: Array, received: Array, kept_unix_ns: Array | int, slot_ns: int) -> Array:
    """Return the slot of each row.

    That is its start time, but never more than two minutes after the collector
    received it nor more than 400 days before, nor before the time of retention where
    that is earlier: a wrong clock moves a row's place, not its content, and
    cannot make files for a far future.
    """
    oldest = np.minimum(received, kept_unix_ns) - MOST_BEHIND_NS
    bounded = np.clip(starts, oldest, received + AHEAD_NS)
    slots: Array = bounded - bounded % slot_ns
    return slots


def place(rows: Rows, shards: Array, slots: Array) -> Iterator[Placed]:
    """Yield a block a shard and slot, its rows by owner, domain, statistic and start."""
    kind_has_domain = rows.kind is not SectionKind.HOST_SECOND
    lines = [rows.table[name] for name in ("statistic", "domain")] if kind_has_domain else []
    order = np.lexsort((rows.table["start_unix_ns"], *lines, rows.owners, slots, shards))
    rows, shards, slots = take(rows, order), shards[order], slots[order]
    change = (np.diff(shards.astype(np.int64)) != 0) | (np.diff(slots) != 0)
    edges = [0, *(np.flatnonzero(change) + 1).tolist(), len(rows)]
    for first, end in pairwise(edges):
        yield Placed(int(shards[first]), int(slots[first]), take(rows, np.arange(first, end)))
