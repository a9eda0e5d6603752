"""The embedded store: one directory, one writing process, any number of reading threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from chipwatt.collector.store.catalogue import Catalogue, number
from chipwatt.collector.store.compaction import SETTLE_NS, Compactor
from chipwatt.collector.store.config import StoreConfig, tiers
from chipwatt.collector.store.contract import (
    BatchKey,
    Block,
    HostRow,
    IncomingBatch,
    StreamState,
    Totals,
)
from chipwatt.collector.store.damage import Damage
from chipwatt.collector.store.dictionary import Dictionary
from chipwatt.collector.store.faults import believed, told
from chipwatt.collector.store.fingerprints import forget
from chipwatt.collector.store.history import History
from chipwatt.collector.store.intake import TOTALS, Intake
from chipwatt.collector.store.journal import Journal
from chipwatt.collector.store.ledger import EnergyCheck, Ledger
from chipwatt.collector.store.lines import Line, Lines
from chipwatt.collector.store.opening import CHECK_S, check_catalogue, tell_vanished
from chipwatt.collector.store.overlap import Overlaps
from chipwatt.collector.store.pace import Pace
from chipwatt.collector.store.quarantine import Conflict, Quarantine, Quarantined
from chipwatt.collector.store.reading import Reader
from chipwatt.collector.store.retention import Retention
from chipwatt.collector.store.scrub import Scrub
from chipwatt.collector.store.shelf import Shelf
from chipwatt.collector.store.status import Statuses
from chipwatt.collector.store.stream_book import StreamBook, heard_since_fold, states
from chipwatt.collector.store.tally import Tally
from chipwatt.collector.store.told import Told
from chipwatt.collector.store.twins import Known, Twins
from chipwatt.core.columns import SectionKind
from chipwatt.core.identity import DeviceId
from chipwatt.core.records import (
    AbsentInterface,
    AgentHealth,
    SensorStatus,
)
from chipwatt.core.rows import Rows

EXPIRE_S = 10.0
"""How long one call of ``expire`` works on roll-ups."""
SCRUB_S = 1.0
"""How long one call of ``expire`` looks for damage."""
_ALL_ROWS = 1 << 40


class SqliteStore(History):
    """``contract.Store`` on SQLite. Opening raises StoreError."""

    def __init__(self, config: StoreConfig, mono_ns: Callable[[], int] | None = None) -> None:
        """Open the store; with ``mono_ns`` retention keeps a time of its own (``pace``).

        Without, it takes what ``expire`` is given for the time that it is.
        """
        self._config = config
        self._catalogue = Catalogue(config.path)
        try:
            self._open(mono_ns)
        except BaseException:
            self._catalogue.close()
            raise

    def _open(self, mono_ns: Callable[[], int] | None) -> None:
        config = self._config
        self._damage = Damage(self._catalogue)
        whole = check_catalogue(self._catalogue, self._damage)
        self._shelf = Shelf(self._catalogue, tiers(config), self._damage, sweep=whole)
        self._tally = Tally(config.path)
        try:
            tell_vanished(self._catalogue, self._tally, self._shelf, self._damage)
            with believed(self._catalogue.path), self._catalogue.reading() as connection:
                self._dictionary = Dictionary(connection)
                self._book = StreamBook(connection)
                for host, heard_unix_ns in heard_since_fold(connection).items():
                    self._dictionary.host(host, heard_unix_ns)
                self._ledger = Ledger(self._dictionary, connection)
                self._lines = Lines(self._dictionary, connection)
                self._pace = Pace(connection, mono_ns) if mono_ns else None
            self._compactor = Compactor(
                config,
                self._catalogue,
                self._shelf,
                self._dictionary,
                self._ledger,
                self._book,
                self._lines,
            )
            self._retention = Retention(self._catalogue, self._shelf, self._compactor.lock)
            self._reader = Reader(self._catalogue, self._shelf)
            with believed(self._catalogue.path), self._catalogue.reading() as connection:
                self._overlaps = Overlaps(self._dictionary, self._stored, connection)
                self._twins = Twins(self._dictionary, self._stored, self._told, connection)
            self._journal = Journal(self._catalogue, self._dictionary)
            self._quarantine = Quarantine(self._catalogue)
            self._statuses = Statuses(self._catalogue, self._dictionary, self._damage)
            self._scrub = Scrub(self._catalogue, self._shelf, self._compactor.lock)
            self._scrub.run(CHECK_S)
        except BaseException:
            self._tally.close()
            raise

    def commit(self, batches: Sequence[IncomingBatch]) -> Mapping[bytes, Counter[str]]:
        """Write all or nothing; on return they survive a power cut. Raises StoreError.

        Returns how many rows were left out or cut, by host and reason, because what
        they say is stored already under other keys: ``covered``, ``trimmed``, ``twin``.
        """
        if not batches:
            return {}
        with self._catalogue.lock:
            try:
                settled, changed = self._overlaps.settle(batches)
                settled, left_out = self._twins.settle(settled)
                for host, counted in left_out.items():
                    changed.setdefault(host, Counter()).update(counted)
                intake = Intake(settled, self._dictionary, self._book)
                with self._catalogue.writing("commit") as connection:
                    self._dictionary.save(connection)
                    number_given = self._book.save(
                        connection, intake.received_unix_ns, intake.entries
                    )
                    self._overlaps.save(connection)
                    intake.save(connection)
            except BaseException:
                self._dictionary.forget()
                self._book.forget()
                raise
            self._dictionary.saved()
            self._book.saved(intake.entries)
            self._overlaps.saved()
            self._tally.note(intake.counted_as(number_given))
        return changed

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

    def quarantine(self, batches: Sequence[Quarantined]) -> None:
        """Put batches aside that contradict stored ones. Raises StoreError."""
        self._quarantine.add(batches)

    def conflicts(self) -> list[Conflict]:
        """Return what was put aside without its payloads, newest first. Raises StoreError."""
        return self._quarantine.conflicts()

    def quarantined(self) -> list[Quarantined]:
        """Return what was put aside, oldest first. Raises StoreError."""
        return self._quarantine.all()

    def streams(self) -> list[StreamState]:
        """Return the dedupe state as of the last commit. Raises StoreError."""
        with believed(self._catalogue.path), self._catalogue.reading() as connection:
            return states(connection)

    def fingerprint(self, key: BatchKey) -> int | None:
        """Return the fingerprint of a stored batch; None after 30 days. Raises StoreError."""
        with self._catalogue.reading() as connection:
            return self._book.fingerprint(connection, key)

    def lines(self, host: bytes) -> list[Line]:
        """Return where each sensor's rows end, as of the last compaction."""
        return self._lines.of(host)

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
        """Places of the store that are damaged: see ``damage``."""
        return self._damage.count

    def compact(
        self, now_unix_ns: int, *, kept_unix_ns: int | None = None, settle_ns: int = SETTLE_NS
    ) -> None:
        """Move what has settled from the journal into blocks. Raises StoreError.

        ``kept_unix_ns`` is the time to keep by, where that is not now.
        """
        self._compactor.run(now_unix_ns, kept_unix_ns, settle_ns)

    def expire(self, now_unix_ns: int, *, budget_s: float = EXPIRE_S) -> bool:
        """Roll up and delete what retention no longer keeps, for about ``budget_s``.

        Returns whether all of that is done; the next call goes on. Looks for damage on
        the way. Raises StoreError.
        """
        kept_unix_ns = now_unix_ns
        if self._pace is not None:
            kept_unix_ns = self._pace.now(now_unix_ns, self._lines.heard())
        self.compact(now_unix_ns, kept_unix_ns=kept_unix_ns)
        with self._catalogue.writing("forget fingerprints") as connection:
            done = not forget(connection, kept_unix_ns)
            if self._pace is not None:
                self._pace.save(connection)
        self._scrub.run(SCRUB_S)
        self._damage.forget(kept_unix_ns - self._config.retention_1h)
        return self._retention.run(kept_unix_ns, budget_s) and done

    def close(self) -> None:
        """Close the store; nothing is lost by not doing so."""
        self._retention.close()
        self._catalogue.close()
        self._tally.close()

    def _stored(
        self, kind: SectionKind, host: int, start_unix_ns: int, end_unix_ns: int
    ) -> Rows | None:
        name = self._dictionary.hosts[host].host
        return self._read(kind, name, (start_unix_ns, end_unix_ns), _ALL_ROWS)

    def _told(self, host: bytes) -> Known:
        return Known(
            {
                (line.device, line.domain, line.statistic): Told(
                    line.end_mono_ns, line.end_mono_ns, line.end_unix_ns - line.end_mono_ns
                )
                for line in self._lines.of(host)
            },
            self._lines.are_whole,
            {
                (sensor.device, sensor.domain, sensor.statistic): sensor.max_power_mw
                for sensor in self._statuses.sensors(host)
            },
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0  # retired while we looked
