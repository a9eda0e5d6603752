"""What dedupe must remember, on disk: one row a stream, and receipts that are not yet in it.

A commit appends one receipt with (stream, sequence, digest) of each of its
batches: a few bytes. ``fold`` later adds receipts to their streams' rows and
deletes them. The state is the rows plus the receipts, whatever happened.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chipwatt.collector.store.contract import BatchKey, StreamState
from chipwatt.collector.store.ranges import Ranges

RECENT_DIGESTS = 64
"""Batches a stream whose digests are kept; an older one is a duplicate whatever it holds."""
_ENTRY = struct.Struct("<IQ16s")
_PAIR = struct.Struct("<QQ")
_DIGEST = struct.Struct("<Q16s")
_Name = tuple[bytes, bytes, bytes]


@dataclass(slots=True)
class _Stream:
    seen: Ranges
    digests: dict[int, bytes]

    def add(self, sequence: int, digest: bytes) -> None:
        self.seen.add(sequence, sequence)
        self.digests[sequence] = digest
        if len(self.digests) > RECENT_DIGESTS:
            del self.digests[next(iter(self.digests))]


@dataclass(frozen=True, slots=True)
class Fold:
    """Streams' rows as they are once receipts up to ``receipt`` are in them."""

    receipt: int
    rows: list[tuple[bytes, bytes, int]]


class StreamBook:
    """Numbers of streams, in memory; their state, on disk."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._numbers: dict[_Name, int] = {
            (host, boot, epoch): number
            for number, host, boot, epoch in connection.execute(
                "SELECT id, host, boot, spool_epoch FROM stream"
            )
        }
        self._new: list[_Name] = []

    def number(self, key: BatchKey) -> int:
        """Return the number of a batch's stream, new or known."""
        name = (key.host, key.boot, key.spool_epoch.to_bytes(8))
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self._numbers)
            self._new.append(name)
        return number

    def save(
        self,
        connection: sqlite3.Connection,
        received_unix_ns: int,
        entries: Iterable[tuple[int, int, bytes]],
    ) -> None:
        """Write new streams and the receipt of one commit."""
        connection.executemany(
            "INSERT INTO stream VALUES (?, ?, ?, ?, x'', x'')",
            [(self._numbers[name], *name) for name in self._new],
        )
        packed = b"".join(_ENTRY.pack(*entry) for entry in entries)
        connection.execute(
            "INSERT INTO receipt (received, entries) VALUES (?, ?)", (received_unix_ns, packed)
        )

    def saved(self) -> None:
        """Take note that what ``save`` wrote is committed."""
        self._new.clear()

    def forget(self) -> None:
        """Take back the numbers that were given since the last ``saved``."""
        for name in self._new:
            del self._numbers[name]
        self._new.clear()


def heard_since_fold(connection: sqlite3.Connection) -> dict[bytes, int]:
    """Return when each host of a receipt was last heard from, unix ns."""
    hosts = dict(connection.execute("SELECT id, host FROM stream").fetchall())
    heard: dict[bytes, int] = {}
    for received, entries in connection.execute("SELECT received, entries FROM receipt"):
        for number, _, _ in _ENTRY.iter_unpack(entries):
            heard[hosts[number]] = received
    return heard


def states(connection: sqlite3.Connection) -> list[StreamState]:
    """Return the dedupe state as of the connection's snapshot."""
    streams = _load(connection, "SELECT id, seen, digests FROM stream")
    _, added = _receipts(connection)
    for number, sequence, digest in added:
        streams[number].add(sequence, digest)
    names = connection.execute("SELECT id, host, boot, spool_epoch FROM stream").fetchall()
    return [
        StreamState(
            host,
            boot,
            int.from_bytes(epoch),
            streams[number].seen.pairs(),
            tuple(streams[number].digests.items()),
        )
        for number, host, boot, epoch in names
    ]


def plan_fold(connection: sqlite3.Connection) -> Fold:
    """Work out the rows that take up all receipts of the connection's snapshot."""
    newest, added = _receipts(connection)
    streams: dict[int, _Stream] = {}
    for number in {entry[0] for entry in added}:
        streams |= _load(connection, "SELECT id, seen, digests FROM stream WHERE id = ?", (number,))
    for number, sequence, digest in added:
        streams[number].add(sequence, digest)
    return Fold(
        newest,
        [
            (
                b"".join(_PAIR.pack(*pair) for pair in stream.seen.pairs()),
                b"".join(_DIGEST.pack(*item) for item in stream.digests.items()),
                number,
            )
            for number, stream in streams.items()
        ],
    )


def apply_fold(connection: sqlite3.Connection, fold: Fold) -> None:
    """Write a fold and delete the receipts that it took up, in the caller's transaction."""
    connection.executemany("UPDATE stream SET seen = ?, digests = ? WHERE id = ?", fold.rows)
    connection.execute("DELETE FROM receipt WHERE id <= ?", (fold.receipt,))


def _receipts(connection: sqlite3.Connection) -> tuple[int, list[tuple[int, int, bytes]]]:
    newest = 0
    added: list[tuple[int, int, bytes]] = []
    for number, entries in connection.execute("SELECT id, entries FROM receipt ORDER BY id"):
        newest = number
        added.extend(_ENTRY.iter_unpack(entries))
    return newest, added


def _load(
    connection: sqlite3.Connection, query: str, values: Sequence[int] = ()
) -> dict[int, _Stream]:
    return {
        number: _Stream(Ranges(_PAIR.iter_unpack(seen)), dict(_DIGEST.iter_unpack(digests)))
        for number, seen, digests in connection.execute(query, values)
    }
