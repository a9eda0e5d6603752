"""One file of compacted blocks: appending to it, reading from it.

A file only ever gains blocks; which of them count is the catalogue's to say
(``shelf``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chipwatt.collector.store.block import BlockDamaged, decode, encode
from chipwatt.collector.store.damage import Loss, hosts_of_shard
from chipwatt.collector.store.faults import StoreDamaged, told
from chipwatt.collector.store.sqlite_file import connect, reading, writing
from chipwatt.core.columns import SectionKind
from chipwatt.core.rows import Rows

_SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS block (id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, "
        "shard INTEGER NOT NULL, slot INTEGER NOT NULL, generation INTEGER NOT NULL, "
        "start_min INTEGER NOT NULL, start_max INTEGER NOT NULL, rows INTEGER NOT NULL, "
        "data BLOB NOT NULL)"
    ),
    (
        "CREATE INDEX IF NOT EXISTS block_place "
        "ON block (kind, shard, slot, start_min, start_max, generation)"
    ),
)


@dataclass(frozen=True, slots=True)
class Placed:
    """Rows and where they go: a shard of hosts, a slot of time."""

    shard: int
    slot_unix_ns: int
    rows: Rows


@dataclass(frozen=True, slots=True)
class Found:
    """A block of a file that counts, not yet read."""

    number: int
    slot_unix_ns: int
    start_min: int
    start_max: int

    def lost(self, path: Path, kind: SectionKind, shard: int) -> Loss:
        """Return the loss of this block."""
        place = f"{path.name} block {self.number}"
        return Loss(place, self.start_min, self.start_max, kind, hosts_of_shard(shard))


@dataclass(frozen=True, slots=True)
class Held:
    """A block of a file that counts, with what its row says of it."""

    number: int
    kind: int
    shard: int
    start_min: int
    start_max: int
    rows: int


@dataclass(frozen=True, slots=True)
class Extent:
    """How many rows some blocks hold, and when they start."""

    rows: int
    start_min: int
    start_max: int


def append(path: Path, generation: int, placed: Sequence[Placed]) -> Extent:
    """Add blocks in one durable transaction, making the file if need be. Raises StoreError."""
    starts = [one.rows.table["start_unix_ns"] for one in placed]
    least, most = [int(s.min()) for s in starts], [int(s.max()) for s in starts]
    packed = [
        (
            int(one.rows.kind),
            one.shard,
            one.slot_unix_ns,
            generation,
            low,
            high,
            len(one.rows),
            encode(one.rows),
        )
        for one, low, high in zip(placed, least, most, strict=True)
    ]
    with (
        told(path, "write blocks"),
        closing(connect(path, create=True, write=True)) as connection,
        writing(connection),
    ):
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.executemany(
            "INSERT INTO block (kind, shard, slot, generation, start_min, start_max, rows, data) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            packed,
        )
    return Extent(sum(len(one.rows) for one in placed), min(least), max(most))


def rebuild_index(path: Path) -> None:
    """Make the index anew from the blocks. Raises StoreError."""
    with told(path, "rebuild the index"), closing(connect(path, write=True)) as connection:
        connection.execute("REINDEX")


def take_back(path: Path, generation: int) -> None:
    """Delete the blocks of one generation. Raises StoreError."""
    with (
        told(path, "take blocks back"),
        closing(connect(path, write=True)) as connection,
        writing(connection),
    ):
        connection.execute("DELETE FROM block WHERE generation = ?", (generation,))


class BlockFile:
    """One file, open for reading; its methods raise StoreError."""

    def __init__(self, path: Path, connection: sqlite3.Connection, visible: Container[int]) -> None:
        self._path = path
        self._connection = connection
        self._visible = visible

    def find(self, kind: SectionKind, shard: int) -> list[Found]:
        """Return the blocks of one kind and shard that count, by slot."""
        query = (
            "SELECT id, slot, start_min, start_max, generation FROM block {} "
            "WHERE kind = ? AND shard = ? ORDER BY slot, id"
        )
        place = (int(kind), shard)
        try:
            rows = self._rows(query.format("INDEXED BY block_place"), place)
        except StoreDamaged:
            rows = self._rows(query.format("NOT INDEXED"), place)  # slower, without what broke
        return [Found(*row[:4]) for row in rows if row[4] in self._visible]

    def shards(self, kind: SectionKind) -> list[int]:
        """Return the shards that have blocks of one kind."""
        rows = self._rows(
            "SELECT DISTINCT shard FROM block WHERE kind = ? ORDER BY shard", (int(kind),)
        )
        return [row[0] for row in rows]

    def rows(self, number: int, kind: SectionKind) -> Rows:
        """Return the rows of a block of that kind. Raises BlockDamaged."""
        found = self._rows("SELECT data FROM block WHERE id = ?", (number,))
        if not found or not isinstance(found[0][0], bytes):
            raise BlockDamaged(f"{self._path}: block {number} is not there")
        rows = decode(found[0][0])
        if rows.kind is not kind:
            raise BlockDamaged(f"{self._path}: block {number} holds rows of another kind")
        return rows

    def contents(self) -> list[Held]:
        """Return every block that counts, newest first, read without the index."""
        rows = self._rows(
            "SELECT id, kind, shard, start_min, start_max, rows, generation "
            "FROM block NOT INDEXED ORDER BY id DESC",
            (),
        )
        return [Held(*row[:6]) for row in rows if row[6] in self._visible]

    def generations(self) -> set[int]:
        """Return the generations of all blocks, whether they count or not."""
        return {row[0] for row in self._rows("SELECT DISTINCT generation FROM block", ())}

    def check(self) -> str:
        """Return what SQLite finds wrong with the file; empty where it is whole."""
        return "; ".join(
            row[0] for row in self._rows("PRAGMA integrity_check(3)", ()) if row[0] != "ok"
        )

    def _rows(self, query: str, values: tuple[int, ...]) -> list[tuple[Any, ...]]:
        with told(self._path, "read blocks"):
            return self._connection.execute(query, values).fetchall()


@contextmanager
def open_blocks(path: Path, visible: Container[int]) -> Iterator[BlockFile]:
    """Read one unchanging state of a file. Raises StoreError."""
    with told(path, "read blocks"):
        connection = connect(path)
    with closing(connection), reading(connection):
        yield BlockFile(path, connection, visible)
