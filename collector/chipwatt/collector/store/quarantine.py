"""Batches that contradict a stored one, put aside for a person to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import zstandard

from chipwatt.collector.store.catalogue import Catalogue
from chipwatt.collector.store.contract import BatchKey

MAX_QUARANTINED = 1000
"""Batches kept; the newest stay."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A batch whose key is stored with another digest."""

    key: BatchKey
    digest: bytes
    received_unix_ns: int


@dataclass(frozen=True, slots=True)
class Quarantined(Conflict):
    """Such a batch with what it holds."""

    payload: bytes


class Quarantine:
    """A bounded shelf apart from the books."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def add(self, batches: Sequence[Quarantined]) -> None:
        """Keep batches, and drop the oldest where there are too many. Raises StoreError."""
        with self._catalogue.writing("quarantine batches") as connection:
            connection.executemany(
                "INSERT INTO quarantine (received, host, boot, spool_epoch, sequence, digest, "
                "payload) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        batch.received_unix_ns,
                        batch.key.host,
                        batch.key.boot,
                        batch.key.spool_epoch.to_bytes(8),
                        batch.key.sequence.to_bytes(8),
                        batch.digest,
                        zstandard.compress(batch.payload, 1),
                    )
                    for batch in batches
                ],
            )
            connection.execute(
                "DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?",
                (MAX_QUARANTINED,),
            )

    def conflicts(self) -> list[Conflict]:
        """Return what is kept without its payloads, newest first. Raises StoreError."""
        with self._catalogue.reading() as connection:
            found = connection.execute(
                "SELECT host, boot, spool_epoch, sequence, digest, received "
                "FROM quarantine ORDER BY id DESC"
            ).fetchall()
        return [
            Conflict(BatchKey(host, boot, int.from_bytes(epoch), int.from_bytes(sequence)), *rest)
            for host, boot, epoch, sequence, *rest in found
        ]

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
