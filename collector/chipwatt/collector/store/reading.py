"""Questions about history: which blocks and parts overlap, decoded in order of time.

A query sees one state of the catalogue from begin to end. Where a file that
this state names has been retired meanwhile, the query begins again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np

from chipwatt.collector.store.block import BlockDamaged, decode
from chipwatt.collector.store.block_file import open_blocks
from chipwatt.collector.store.catalogue import Catalogue, number
from chipwatt.collector.store.config import HOSTS_A_SHARD
from chipwatt.collector.store.damage import Loss
from chipwatt.collector.store.faults import StoreDamaged, told
from chipwatt.collector.store.parts import parts_after
from chipwatt.collector.store.shelf import Shelf, Visible
from chipwatt.core.columns import SectionKind
from chipwatt.core.errors import StoreError
from chipwatt.core.model import Domain, Statistic
from chipwatt.core.rollup import roll_up
from chipwatt.core.rows import Rows, concatenate, take
from chipwatt.core.tables import Array

_TRIES = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a query asks for."""

    kind: SectionKind
    host: int
    owners: Array
    start_unix_ns: int
    end_unix_ns: int
    limit: int
    resolution_ns: int = 0
    domain: Domain | None = None
    statistic: Statistic | None = None

    def of(self, rows: Rows) -> Rows:
        """Return the rows that are asked for."""
        starts = rows.table["start_unix_ns"]
        mask = np.isin(rows.owners, self.owners)
        mask &= (starts >= self.first_unix_ns) & (starts < self.last_unix_ns)
        if self.domain is not None:
            mask &= rows.table["domain"] == self.domain
        if self.statistic is not None:
            mask &= rows.table["statistic"] == self.statistic
        return take(rows, mask)

    @property
    def first_unix_ns(self) -> int:
        """Where rows that share a bin with the first one begin."""
        return self.start_unix_ns - self.start_unix_ns % (self.resolution_ns or 1)

    @property
    def last_unix_ns(self) -> int:
        """Where the last bin ends."""
        return self.end_unix_ns + -self.end_unix_ns % (self.resolution_ns or 1)


@dataclass(frozen=True, slots=True)
class _Source:
    """A block or part that may hold rows that are asked for."""

    start_min: int
    rows: Callable[[], Rows]
    loss: Loss
    """What is lost where the rows cannot be read."""


class _Retired(Exception):
    """A file went away under a query."""


class Reader:
    """Answers queries; safe in any number of threads."""

    def __init__(self, catalogue: Catalogue, shelf: Shelf) -> None:
        self._catalogue = catalogue
        self._shelf = shelf

    def read(self, wanted: Wanted) -> Rows | None:
        """Return rows by start time, at most ``limit``; None where there are none.

        Raises StoreError.
        """
        if wanted.start_unix_ns >= wanted.end_unix_ns or wanted.limit < 1:
            return None
        for _ in range(_TRIES - 1):
            try:
                return self._read(wanted)
            except _Retired:
                continue
        return self._read(wanted, last_try=True)

    def _read(self, wanted: Wanted, *, last_try: bool = False) -> Rows | None:
        with self._catalogue.reading() as connection, ExitStack() as stack:
            sources = [
                *self._parts(connection, wanted),
                *self._blocks(connection, wanted, stack, last_try=last_try),
            ]
            sources.sort(key=lambda source: source.start_min)
            return self._gather(sources, wanted)

    def _parts(self, connection: sqlite3.Connection, wanted: Wanted) -> Iterator[_Source]:
        host = np.uint32(wanted.host)
        for position, start_min, start_max, hosts in parts_after(
            connection,
            "position, start_min, start_max, hosts",
            number(connection, "moved"),
            "kind = ? AND start_max >= ? AND start_min < ?",
            (int(wanted.kind), wanted.first_unix_ns, wanted.last_unix_ns),
        ):
            if host in np.frombuffer(hosts, "<u4"):
                yield _Source(
                    start_min,
                    partial(self._part, connection, position, wanted.kind),
                    Loss(f"part {position}", start_min, start_max, wanted.kind, hosts),
                )

    def _part(self, connection: sqlite3.Connection, position: int, kind: SectionKind) -> Rows:
        query = "SELECT data FROM part WHERE position = ?"
        with told(self._catalogue.path, "read the store"):
            row = connection.execute(query, (position,)).fetchone()
        if row is None or not isinstance(row[0], bytes):
            raise BlockDamaged("the part is not there")
        rows = decode(row[0])
        if rows.kind is not kind:
            raise BlockDamaged("the part holds rows of another kind")
        return rows

    def _blocks(
        self,
        connection: sqlite3.Connection,
        wanted: Wanted,
        stack: ExitStack,
        *,
        last_try: bool,
    ) -> Iterator[_Source]:
        visible = Visible(connection)
        first, last = wanted.first_unix_ns, wanted.last_unix_ns
        shard = wanted.host // HOSTS_A_SHARD
        for shelved in self._shelf.overlapping(connection, first, last):
            try:
                blocks = stack.enter_context(open_blocks(shelved.path, visible))
                found = blocks.find(wanted.kind, shard)
            except StoreError as error:
                gone = not shelved.path.exists()
                if gone and not last_try:
                    raise _Retired from None
                if not gone and not isinstance(error, StoreDamaged):
                    raise
                self._shelf.damage.lose(shelved.lost(), str(error), suspect=shelved.path)
                continue
            for one in found:
                if one.start_max >= first and one.start_min < last:
                    yield _Source(
                        one.start_min,
                        partial(blocks.rows, one.number, wanted.kind),
                        one.lost(shelved.path, wanted.kind, shard),
                    )

    def _gather(self, sources: list[_Source], wanted: Wanted) -> Rows | None:
        """Decode in order of time until nothing earlier than the limit can follow."""
        kept: list[Rows] = []
        count, enough = 0, wanted.limit
        for position, source in enumerate(sources):
            rows = self._decode(source, wanted)
            if rows is None:
                continue
            kept.append(rows)
            count += len(rows)
            if count >= enough and position + 1 < len(sources):
                done = _finish(kept, wanted, before_unix_ns=sources[position + 1].start_min)
                if done is not None and len(done) >= wanted.limit:
                    return done
                enough = 2 * count
        return _finish(kept, wanted)

    def _decode(self, source: _Source, wanted: Wanted) -> Rows | None:
        try:
            return wanted.of(source.rows())
        except (BlockDamaged, StoreDamaged) as error:
            self._shelf.damage.lose(source.loss, str(error))
            return None


def _finish(kept: list[Rows], wanted: Wanted, before_unix_ns: int | None = None) -> Rows | None:
    if not kept:
        return None
    rows = concatenate(kept)
    step = wanted.resolution_ns
    if before_unix_ns is not None:
        whole = before_unix_ns - before_unix_ns % (step or 1)
        rows = take(rows, rows.table["start_unix_ns"] < whole)
    if step:
        rows = roll_up(rows, step)
    starts = rows.table["start_unix_ns"]
    rows = take(rows, (starts >= wanted.start_unix_ns) & (starts < wanted.end_unix_ns))
    order = np.argsort(rows.table["start_unix_ns"], kind="stable")
    return take(rows, order[: wanted.limit])
