"""Four bytes of each stored batch's digest, so that a contradiction is recognised weeks later.

A chunk holds the fingerprints of 256 neighbouring sequences of one stream, 0 where
there is none. Chunks are kept for ``KEPT_DAYS`` after their last batch and, of one
stream, the newest ``MAX_CHUNKS``: 30 days at a batch every ten seconds, and at most
1 MiB a stream whatever its agent does. A batch that differs is taken for the same
once in 2^32.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterable

from chipwatt.collector.store.config import DAY_NS

KEPT_DAYS = 30
MAX_CHUNKS = 1024
CHUNK = 256
FORGET_AT_ONCE = 5_000
"""Chunks deleted in one transaction, so that no commit waits for many."""


def fingerprint_of(digest: bytes) -> int:
    """Return a digest's fingerprint, which is never 0."""
    return int.from_bytes(digest[:4], "little") or 1


def save(
    connection: sqlite3.Connection,
    received_unix_ns: int,
    entries: Iterable[tuple[int, int, bytes]],
) -> None:
    """Add (stream, sequence, digest) of stored batches, in the caller's transaction."""
    chunks: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for stream, sequence, digest in entries:
        chunk, position = divmod(sequence, CHUNK)
        chunks.setdefault((stream, chunk), []).append((position, fingerprint_of(digest)))
    day = received_unix_ns // DAY_NS
    for (stream, chunk), added in chunks.items():
        found = connection.execute(
            "SELECT data FROM fingerprint WHERE stream = ? AND chunk = ?", (stream, chunk)
        ).fetchone()
        data = array("I", found[0] if found else bytes(4 * CHUNK))
        for position, fingerprint in added:
            data[position] = fingerprint
        connection.execute(
            "INSERT INTO fingerprint (stream, chunk, day, data) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET day = max(day, excluded.day), data = excluded.data",
            (stream, chunk, day, data.tobytes()),
        )
        if not found:
            connection.execute(
                "DELETE FROM fingerprint WHERE id IN (SELECT id FROM fingerprint "
                "WHERE stream = ? ORDER BY day DESC, id DESC LIMIT -1 OFFSET ?)",
                (stream, MAX_CHUNKS),
            )


def look_up(connection: sqlite3.Connection, stream: int, sequence: int) -> int | None:
    """Return the fingerprint of a stored batch; None where it is kept no more."""
    chunk, position = divmod(sequence, CHUNK)
    found = connection.execute(
        "SELECT data FROM fingerprint WHERE stream = ? AND chunk = ?", (stream, chunk)
    ).fetchone()
    return (array("I", found[0])[position] or None) if found else None


def forget(connection: sqlite3.Connection, now_unix_ns: int) -> bool:
    """Delete some chunks that are past their time; return whether there may be more."""
    deleted = connection.execute(
        "DELETE FROM fingerprint WHERE id IN (SELECT id FROM fingerprint WHERE day < ? LIMIT ?)",
        (now_unix_ns // DAY_NS - KEPT_DAYS, FORGET_AT_ONCE),
    )
    return deleted.rowcount >= FORGET_AT_ONCE
