"""What dedupe must remember, on disk: one row a stream, and receipts that are not yet in it.

A commit appends one receipt with (stream, sequence, digest) of each of its
batches: a few bytes. A fold later adds receipts to their streams' rows, some streams
a transaction, and deletes them with the last. The state is the rows plus the
receipts, whatever happened, for what a receipt adds twice is added once.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chipwatt.collector.store.contract import BatchKey, StreamState
from chipwatt.collector.store.fingerprints import fingerprint_of, look_up
from chipwatt.collector.store.fingerprints import save as save_fingerprints
from chipwatt.collector.store.ranges import Ranges

RECENT_DIGESTS = 64
"""Batches a stream whose whole digests are kept; of older ones ``fingerprints`` knows."""
FOLD_AT_ONCE = 512
"""Streams whose rows one transaction of a fold writes: some milliseconds."""
_ENTRY = struct.Struct("<IQ16s")
_PAIR = struct.Struct("<QQ")
_DIGEST = struct.Struct("<Q16s")
_Name = tuple[bytes, bytes, bytes]


@dataclass(slots=True)
class _Stream:
    seen: Ranges
    digests: dict[int, bytes]

    def take(self, entries: Iterable[tuple[int, bytes]]) -> None:
        for sequence, digest in entries:
            self.seen.add(sequence, sequence)
            self.digests[sequence] = digest
            if len(self.digests) > RECENT_DIGESTS:
                del self.digests[next(iter(self.digests))]


@dataclass(frozen=True, slots=True)
class Receipts:
    """What was committed since the last fold, as of one state of the catalogue."""

    newest: int
    """Number of the newest receipt; 0 where there is none."""
    received_unix_ns: int
    streams: dict[int, list[tuple[int, bytes]]]
    """(sequence, digest) in the order of commits, by stream."""


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
        self._recent: dict[tuple[int, int], int] = {
            (stream, sequence): fingerprint_of(digest)
            for stream, entries in receipts(connection).streams.items()
            for sequence, digest in entries
        }

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
    ) -> int:
        """Write new streams and the receipt of one commit; return the receipt's number."""
        connection.executemany(
            "INSERT INTO stream VALUES (?, ?, ?, ?, x'', x'')",
            [(self._numbers[name], *name) for name in self._new],
        )
        packed = b"".join(_ENTRY.pack(*entry) for entry in entries)
        receipt = connection.execute(
            "INSERT INTO receipt (received, entries) VALUES (?, ?)", (received_unix_ns, packed)
        )
        return int(receipt.lastrowid or 0)

    def saved(self, entries: Iterable[tuple[int, int, bytes]]) -> None:
        """Take note that what ``save`` wrote is committed."""
        self._new.clear()
        for stream, sequence, digest in entries:
            self._recent[stream, sequence] = fingerprint_of(digest)

    def folded(self, done: Receipts) -> None:
        """Take note that these receipts are in their streams' rows."""
        for stream, entries in done.streams.items():
            for sequence, _ in entries:
                self._recent.pop((stream, sequence), None)

    def fingerprint(self, connection: sqlite3.Connection, key: BatchKey) -> int | None:
        """Return the fingerprint of a stored batch; None where it is kept no more."""
        number = self._numbers.get((key.host, key.boot, key.spool_epoch.to_bytes(8)))
        if number is None:
            return None
        recent = self._recent.get((number, key.sequence))
        return look_up(connection, number, key.sequence) if recent is None else recent

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
    for number, entries in receipts(connection).streams.items():
        streams[number].take(entries)
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


def receipts(connection: sqlite3.Connection) -> Receipts:
    """Return what was committed since the last fold."""
    newest = received_unix_ns = 0
    streams: dict[int, list[tuple[int, bytes]]] = {}
    for newest, received_unix_ns, entries in connection.execute(  # noqa: B007 - the last counts
        "SELECT id, received, entries FROM receipt ORDER BY id"
    ):
        for number, sequence, digest in _ENTRY.iter_unpack(entries):
            streams.setdefault(number, []).append((sequence, digest))
    return Receipts(newest, received_unix_ns, streams)


def fold(connection: sqlite3.Connection, done: Receipts, numbers: Iterable[int]) -> None:
    """Add receipts to the rows of some streams, in the caller's transaction."""
    rows = []
    for number in numbers:
        loaded = _load(connection, "SELECT id, seen, digests FROM stream WHERE id = ?", (number,))
        stream, entries = loaded[number], done.streams[number]
        stream.take(entries)
        save_fingerprints(
            connection,
            done.received_unix_ns,
            ((number, sequence, digest) for sequence, digest in entries),
        )
        rows.append(
            (
                b"".join(_PAIR.pack(*pair) for pair in stream.seen.pairs()),
                b"".join(_DIGEST.pack(*item) for item in stream.digests.items()),
                number,
            )
        )
    connection.executemany("UPDATE stream SET seen = ?, digests = ? WHERE id = ?", rows)


def drop(connection: sqlite3.Connection, done: Receipts) -> None:
    """Delete receipts that are in their streams' rows, in the caller's transaction."""
    connection.execute("DELETE FROM receipt WHERE id <= ?", (done.newest,))


def _load(
    connection: sqlite3.Connection, query: str, values: Sequence[int] = ()
) -> dict[int, _Stream]:
    return {
        number: _Stream(Ranges(_PAIR.iter_unpack(seen)), dict(_DIGEST.iter_unpack(digests)))
        for number, seen, digests in connection.execute(query, values)
    }
