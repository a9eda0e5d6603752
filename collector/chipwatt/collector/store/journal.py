"""Reading what was committed in the order of commits, with cursors that survive a restart.

A part's position is given once and never again. Compaction copies rows out of
parts but leaves the parts where they are until every named cursor has passed
them (at most ``follow_most``), so a follower sees each row once, whatever
compaction and retention do meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import islice

from chipwatt.collector.store.block import BlockDamaged, decode
from chipwatt.collector.store.catalogue import Catalogue
from chipwatt.collector.store.contract import Block
from chipwatt.collector.store.dictionary import Dictionary
from chipwatt.collector.store.intake import host_numbers
from chipwatt.collector.store.parts import parts_after
from chipwatt.core.columns import SectionKind
from chipwatt.core.log import get
from chipwatt.core.tables import Array

_log = get(__name__)


class Journal:
    """Parts and cursors."""

    def __init__(self, catalogue: Catalogue, dictionary: Dictionary) -> None:
        self._catalogue = catalogue
        self._dictionary = dictionary

    def follow(self, after: int, limit: int) -> list[Block]:
        """Return up to ``limit`` blocks after position ``after``, in order. Raises StoreError."""
        with self._catalogue.reading() as connection:
            return list(islice(self._blocks(connection, after), limit))

    def _blocks(self, connection: sqlite3.Connection, after: int) -> Iterator[Block]:
        for position, data in parts_after(connection, "position, data", after):
            try:
                rows = decode(data)
            except BlockDamaged as error:
                _log.warning("followers miss a damaged part", position=position, reason=str(error))
                continue
            hosts = host_numbers(rows, self._dictionary)
            devices: Array = rows.owners
            if rows.kind is SectionKind.HOST_SECOND:
                devices = rows.owners[:0]
            yield Block(position, rows.kind, hosts, devices, rows.table)

    def oldest(self) -> int:
        """Return the position after which everything may still be followed. Raises StoreError."""
        with self._catalogue.reading() as connection:
            first, newest = connection.execute(
                "SELECT (SELECT min(position) FROM part), "
                "(SELECT seq FROM sqlite_sequence WHERE name = 'part')"
            ).fetchone()
        return int(newest or 0) if first is None else int(first) - 1

    def cursor(self, name: str) -> int:
        """Return how far a named reader is; 0 where it never advanced. Raises StoreError."""
        with self._catalogue.reading() as connection:
            row = connection.execute(
                "SELECT position FROM cursor WHERE name = ?", (name,)
            ).fetchone()
        return row[0] if row else 0

    def advance(self, name: str, position: int) -> None:
        """Keep that a named reader is done up to ``position``; never goes back.

        From its first call on, nothing that the reader has not passed is
        forgotten before ``follow_most``. Raises StoreError.
        """
        with self._catalogue.writing("move a cursor") as connection:
            connection.execute(
                "INSERT INTO cursor VALUES (?, ?) ON CONFLICT DO UPDATE "
                "SET position = max(position, excluded.position)",
                (name, position),
            )

    def forget(self, name: str) -> None:
        """Drop a named reader, so that nothing is kept for it. Raises StoreError."""
        with self._catalogue.writing("forget a cursor") as connection:
            connection.execute("DELETE FROM cursor WHERE name = ?", (name,))
