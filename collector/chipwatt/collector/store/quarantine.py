"""Batches that contradict a stored one, put aside for a person to look at."""

from __future__ import annotations

from dataclasses import dataclass

import zstandard

from chipwatt.collector.store.catalogue import Catalogue
from chipwatt.collector.store.contract import BatchKey

MAX_QUARANTINED = 1000
"""Batches kept; the newest stay."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A batch whose key is stored with another digest."""

    key: BatchKey
    digest: bytes
    received_unix_ns: int
    payload: bytes


class Quarantine:
    """A bounded shelf apart from the books."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def add(self, batch: Quarantined) -> None:
        """Keep a batch, and drop the oldest where there are too many. Raises StoreError."""
        key = batch.key
        with self._catalogue.writing("quarantine a batch") as connection:
            row = connection.execute(
                "INSERT INTO quarantine (received, host, boot, spool_epoch, sequence, digest, "
                "payload) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    batch.received_unix_ns,
                    key.host,
                    key.boot,
                    key.spool_epoch.to_bytes(8),
                    key.sequence.to_bytes(8),
                    batch.digest,
                    zstandard.compress(batch.payload, 1),
                ),
            )
            oldest = (row.lastrowid or 0) - MAX_QUARANTINED
            connection.execute("DELETE FROM quarantine WHERE id <= ?", (oldest,))

    def all(self) -> list[Quarantined]:
        """Return what is kept, oldest first. Raises StoreError."""
        with self._catalogue.reading() as connection:
            found = connection.execute(
                "SELECT host, boot, spool_epoch, sequence, digest, received, payload "
                "FROM quarantine ORDER BY id"
            ).fetchall()
        return [
            Quarantined(
                BatchKey(host, boot, int.from_bytes(epoch), int.from_bytes(sequence)),
                digest,
                received_unix_ns,
                zstandard.decompress(payload),
            )
            for host, boot, epoch, sequence, digest, received_unix_ns, payload in found
        ]
