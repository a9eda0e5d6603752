"""The embedded store: one directory, one writing process, any number of reading threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from chipwatt.collector.store.catalogue import Catalogue, number
from chipwatt.collector.store.compaction import Compactor
from chipwatt.collector.store.config import DAY_NS, StoreConfig, tiers
from chipwatt.collector.store.contract import (
    BatchKey,
    Block,
    HostRow,
    IncomingBatch,
    StreamState,
    Totals,
)
from chipwatt.collector.store.dictionary import Dictionary
from chipwatt.collector.store.faults import told
from chipwatt.collector.store.intake import TOTALS, Intake
from chipwatt.collector.store.journal import Journal
from chipwatt.collector.store.ledger import EnergyCheck, Ledger
from chipwatt.collector.store.quarantine import Quarantine, Quarantined
from chipwatt.collector.store.reading import Reader, Wanted
from chipwatt.collector.store.retention import Retention
from chipwatt.collector.store.rows import Rows, values
from chipwatt.collector.store.shelf import Shelf
from chipwatt.collector.store.status import Statuses
from chipwatt.collector.store.stream_book import StreamBook, heard_since_fold, states
from chipwatt.core.codec import gap_from_row, window_from_row
from chipwatt.core.columns import SectionKind
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import Domain, Statistic
from chipwatt.core.records import (
    AbsentInterface,
    AgentHealth,
    DeviceWindow,
    Gap,
    HostSecond,
    SensorStatus,
)

_FAR_UNIX_NS = (1 << 63) - 1 - DAY_NS


class SqliteStore:
    """``contract.Store`` on SQLite. Opening raises StoreError."""

    def __init__(self, config: StoreConfig) -> None:
        self._catalogue = Catalogue(config.path)
        try:
            with self._catalogue.reading() as connection:
                self._dictionary = Dictionary(connection)
                self._book = StreamBook(connection)
                for host, heard_unix_ns in heard_since_fold(connection).items():
                    self._dictionary.host(host, heard_unix_ns)
                self._ledger = Ledger(self._dictionary, connection)
            self._shelf = Shelf(self._catalogue, tiers(config))
            self._compactor = Compactor(
                config, self._catalogue, self._shelf, self._dictionary, self._ledger
            )
            self._retention = Retention(self._catalogue, self._shelf, self._compactor.lock)
            self._reader = Reader(self._catalogue, self._shelf)
            self._journal = Journal(self._catalogue, self._dictionary)
            self._quarantine = Quarantine(self._catalogue)
            self._statuses = Statuses(self._catalogue, self._dictionary)
        except BaseException:
            self._catalogue.close()
            raise

    def commit(self, batches: Sequence[IncomingBatch]) -> None:
        """Write all or nothing; on return they survive a power cut. Raises StoreError."""
        if not batches:
            return
        with self._catalogue.lock:
            try:
                intake = Intake(batches, self._dictionary, self._book)
                with self._catalogue.writing("commit") as connection:
                    self._dictionary.save(connection)
                    self._book.save(connection, intake.received_unix_ns, intake.entries)
                    intake.save(connection)
            except BaseException:
                self._dictionary.forget()
                self._book.forget()
                raise
            self._dictionary.saved()
            self._book.saved()

    def note_host(self, host: HostRow) -> None:
        """Keep what a host said of itself: a new one at once, else with the next compaction."""
        with self._catalogue.lock:
            new = host.host not in self._dictionary.host_numbers
            self._dictionary.note(host)
            if new:
                try:
                    with self._catalogue.writing("keep a host") as connection:
                        self._dictionary.save(connection)
                except BaseException:
                    self._dictionary.forget()
                    raise
                self._dictionary.saved()

    def quarantine(
        self, key: BatchKey, digest: bytes, received_unix_ns: int, payload: bytes
    ) -> None:
        """Put a batch aside that contradicts a stored one. Raises StoreError."""
        self._quarantine.add(Quarantined(key, digest, received_unix_ns, payload))

    def quarantined(self) -> list[Quarantined]:
        """Return what was put aside, oldest first. Raises StoreError."""
        return self._quarantine.all()

    def streams(self) -> list[StreamState]:
        """Return the dedupe state as of the last commit. Raises StoreError."""
        with self._catalogue.reading() as connection:
            return states(connection)

    def hosts(self) -> list[HostRow]:
        """Return every host, in the order of the dictionary."""
        return [replace(row) for row in self._dictionary.hosts]

    def host_dictionary(self) -> list[bytes]:
        """Return host ids; a host's position never changes."""
        return [row.host for row in self._dictionary.hosts]

    def device_dictionary(self) -> list[tuple[bytes, DeviceId]]:
        """Return (host id, device); a device's position never changes."""
        return list(self._dictionary.devices)

    def sensors(self, host: bytes) -> list[SensorStatus]:
        """Return the newest status of every sensor. Raises StoreError."""
        return self._statuses.sensors(host)

    def absent(self, host: bytes) -> list[AbsentInterface]:
        """Return the interfaces that give nothing, and why. Raises StoreError."""
        return self._statuses.absent(host)

    def health(self, host: bytes) -> AgentHealth | None:
        """Return the agent's newest account of itself. Raises StoreError."""
        return self._statuses.health(host)

    def windows(
        self,
        host: bytes,
        start_unix_ns: int,
        end_unix_ns: int,
        *,
        resolution_ns: int = 0,
        device: DeviceId | None = None,
        domain: Domain | None = None,
        statistic: Statistic | None = None,
        limit: int = 10_000,
    ) -> list[DeviceWindow]:
        """Return windows that start in [start, end), by start time. Raises StoreError.

        ``resolution_ns`` 0 gives each as fine as it is kept; else windows that
        start in the same bin of that length are merged.
        """
        rows = self._read(
            SectionKind.DEVICE_WINDOW,
            host,
            (start_unix_ns, end_unix_ns),
            limit,
            resolution_ns=resolution_ns,
            device=device,
            domain=domain,
            statistic=statistic,
        )
        if rows is None:
            return []
        devices = self._devices_of(rows)
        return [window_from_row(row, of) for row, of in zip(values(rows), devices, strict=True)]

    def host_seconds(
        self, host: bytes, start_unix_ns: int, end_unix_ns: int, *, limit: int = 10_000
    ) -> list[HostSecond]:
        """Return bins that start in [start, end), by start time. Raises StoreError."""
        rows = self._read(SectionKind.HOST_SECOND, host, (start_unix_ns, end_unix_ns), limit)
        return [] if rows is None else [HostSecond(**row) for row in values(rows)]

    def gaps(
        self, host: bytes, start_unix_ns: int, end_unix_ns: int, *, limit: int = 10_000
    ) -> list[Gap]:
        """Return gaps that start in [start, end), by start time. Raises StoreError."""
        rows = self._read(SectionKind.GAP, host, (start_unix_ns, end_unix_ns), limit)
        if rows is None:
            return []
        devices = self._devices_of(rows)
        return [gap_from_row(row, of) for row, of in zip(values(rows), devices, strict=True)]

    def follow(self, after: int, *, limit: int = 100) -> list[Block]:
        """Return up to ``limit`` blocks committed after position ``after``, in order."""
        return self._journal.follow(after, limit)

    def cursor(self, name: str) -> int:
        """Return a named reader's position; what lies after it is kept for it."""
        return self._journal.cursor(name)

    def advance(self, name: str, position: int) -> None:
        """Keep that a named reader is done up to ``position``."""
        self._journal.advance(name, position)

    def totals(self) -> Totals:
        """Return what the store holds. Raises StoreError."""
        with self._catalogue.reading() as connection:
            counted = {name: number(connection, name) for name in TOTALS}
        directory = self._catalogue.directory
        with told(directory, "measure the store"):
            size = sum(_size(path) for path in directory.rglob("*"))
        return Totals(bytes_on_disk=size, **counted)

    def energy_check(self) -> EnergyCheck:
        """Return the books against the counters, as of the last compaction."""
        return self._ledger.check()

    @property
    def damaged(self) -> int:
        """Blocks, parts and files that could not be read back since the start."""
        return self._compactor.damaged + self._retention.damaged + self._reader.damaged

    def compact(self, now_unix_ns: int, *, settle_ns: int | None = None) -> None:
        """Move what has settled from the journal into blocks. Raises StoreError."""
        if settle_ns is None:
            self._compactor.run(now_unix_ns)
        else:
            self._compactor.run(now_unix_ns, settle_ns)

    def expire(self, now_unix_ns: int) -> None:
        """Roll up and delete what retention no longer keeps. Raises StoreError."""
        self.compact(now_unix_ns)
        self._retention.run(now_unix_ns)

    def close(self) -> None:
        """Close the store; nothing is lost by not doing so."""
        self._catalogue.close()

    def _read(
        self,
        kind: SectionKind,
        host: bytes,
        span: tuple[int, int],
        limit: int,
        *,
        resolution_ns: int = 0,
        device: DeviceId | None = None,
        domain: Domain | None = None,
        statistic: Statistic | None = None,
    ) -> Rows | None:
        host_number = self._dictionary.host_numbers.get(host)
        if host_number is None:
            return None
        owners = (
            np.array([host_number], "<u4")
            if kind is SectionKind.HOST_SECOND
            else self._dictionary.devices_of(host, device)
        )
        return self._reader.read(
            Wanted(
                kind,
                host_number,
                owners,
                _in_range(span[0]),
                _in_range(span[1]),
                limit,
                resolution_ns,
                domain,
                statistic,
            )
        )

    def _devices_of(self, rows: Rows) -> list[DeviceId]:
        devices = self._dictionary.devices
        return [devices[owner][1] for owner in rows.owners.tolist()]


def _in_range(unix_ns: int) -> int:
    """Return a time that columns and the widening to whole bins can hold."""
    return max(0, min(unix_ns, _FAR_UNIX_NS))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0  # retired while we looked
