"""The files of compacted blocks, one a tier and span of time.

Each block carries the generation of the work that wrote it, and a generation
counts only once the catalogue says that the work is finished: until then, and
for ever after a crash, its blocks are invisible. File numbers are never used
twice, so that a reader that still has a deleted file open cannot meet another
file's log.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from chipwatt.collector.store.block_file import Extent, Placed, append, take_back
from chipwatt.collector.store.catalogue import BLOCKS, Catalogue, number, set_number
from chipwatt.collector.store.config import Tier
from chipwatt.collector.store.damage import Damage, Loss
from chipwatt.collector.store.faults import StoreDamaged, told
from chipwatt.core.durable import sync_directory
from chipwatt.core.errors import StoreError

_SPAN = "coalesce(start_min, 0), coalesce(start_max, 0)"
_FILE_NAME = re.compile(r"([0-9a-z]+-\d{8,}\.sqlite)(-wal|-shm)?")


@dataclass(frozen=True, slots=True)
class Shelved:
    """One file as the catalogue knows it."""

    number: int
    tier: Tier
    start_unix_ns: int
    rows: int
    start_min: int
    """When the first of its rows starts; meaningless while it has none."""
    start_max: int
    path: Path

    def must_be_there(self) -> None:
        """Raise StoreDamaged where rows are gone with the file, which SQLite would begin anew."""
        if self.rows and (not self.path.exists() or not self.path.stat().st_size):
            raise StoreDamaged(f"{self.path}: its blocks are gone")

    def lost(self) -> Loss:
        """Return the loss of the whole file."""
        return Loss(self.path.name, self.start_min, self.start_max)

    @property
    def kept_until_unix_ns(self) -> int:
        """When nothing in the file is kept any more at its tier's resolution."""
        return self.start_unix_ns + self.tier.file_ns + self.tier.retention_ns


class Visible:
    """Which generations count, as of one state of the catalogue."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._next = number(connection, "next_generation")
        self._unfinished = {row[0] for row in connection.execute("SELECT * FROM unfinished")}

    def __contains__(self, generation: object) -> bool:
        return (
            isinstance(generation, int)
            and generation < self._next
            and generation not in self._unfinished
        )


class Shelf:
    """Every file of every tier."""

    def __init__(
        self, catalogue: Catalogue, tiers: tuple[Tier, ...], damage: Damage, *, sweep: bool = True
    ) -> None:
        """Open the files; ``sweep`` deletes those that the catalogue does not name."""
        self.tiers = tiers
        self.damage = damage
        self._catalogue = catalogue
        self._directory = catalogue.directory / BLOCKS
        with told(self._directory, "make the directory of blocks"):
            self._directory.mkdir(mode=0o750, exist_ok=True)
            sync_directory(catalogue.directory)
        if sweep:
            self._sweep()

    def files(self, connection: sqlite3.Connection) -> list[Shelved]:
        """Return the files of one state of the catalogue, finest tier and oldest first."""
        return self._select(connection, "ORDER BY tier, start, id", ())

    def overlapping(
        self, connection: sqlite3.Connection, start_unix_ns: int, end_unix_ns: int
    ) -> list[Shelved]:
        """Return the files that hold rows which start in [start, end)."""
        span = (start_unix_ns, end_unix_ns)
        return self._select(connection, "WHERE start_max >= ? AND start_min < ?", span)

    def seal(self, shelved: Shelved) -> None:
        """Let nothing more be written to a file. Raises StoreError."""
        with self._catalogue.writing("seal a file") as connection:
            connection.execute("UPDATE file SET sealed = 1 WHERE id = ?", (shelved.number,))

    def remove(self, shelved: Shelved) -> None:
        """Delete a file that the catalogue no longer names. Raises StoreError."""
        with told(shelved.path, "delete a file that is past its retention"):
            for suffix in ("", "-wal", "-shm"):
                shelved.path.with_name(shelved.path.name + suffix).unlink(missing_ok=True)

    def begin(self) -> Draft:
        """Begin to write blocks that nobody sees before ``Draft.finish``. Raises StoreError."""
        with self._catalogue.writing("begin to write blocks") as connection:
            generation = number(connection, "next_generation")
            set_number(connection, "next_generation", generation + 1)
            connection.execute("INSERT INTO unfinished VALUES (?)", (generation,))
        return Draft(self, self._catalogue, generation)

    def open_file(self, tier: Tier, start_unix_ns: int) -> Shelved:
        """Return the file that takes new blocks of a span, made known if need be."""
        where = "WHERE tier = ? AND start = ? AND sealed = 0"
        span = (tier.number, start_unix_ns)
        with self._catalogue.writing("make a file of blocks") as connection:
            if not (found := self._select(connection, where, span)):
                connection.execute("INSERT INTO file (tier, start) VALUES (?, ?)", span)
                found = self._select(connection, where, span)
        return found[0]

    def _select(
        self, connection: sqlite3.Connection, where: str, values: tuple[int, ...]
    ) -> list[Shelved]:
        rows = connection.execute(
            f"SELECT id, tier, start, rows, {_SPAN} FROM file {where}",  # noqa: S608 - our own
            values,
        )
        return [
            Shelved(
                file_number,
                self.tiers[tier],
                start_unix_ns,
                held,
                first,
                last,
                self._directory / f"{self.tiers[tier].name}-{file_number:08}.sqlite",
            )
            for file_number, tier, start_unix_ns, held, first, last in rows
        ]

    def _sweep(self) -> None:
        """Delete what a crash left after a file had been taken off the catalogue."""
        with self._catalogue.reading() as connection:
            known = {shelved.path.name for shelved in self.files(connection)}
        with told(self._directory, "tidy the directory of blocks"):
            for path in self._directory.iterdir():
                name = _FILE_NAME.fullmatch(path.name)
                if name and name[1] not in known:
                    path.unlink()


class Draft:
    """Blocks of one generation."""

    def __init__(self, shelf: Shelf, catalogue: Catalogue, generation: int) -> None:
        self._shelf = shelf
        self._catalogue = catalogue
        self._generation = generation
        self._written: list[tuple[Shelved, Extent]] = []

    def write(self, tier: Tier, placed: Iterable[Placed]) -> None:
        """Write blocks; on return they are on the disk, still invisible. Raises StoreError."""
        by_file: dict[int, list[Placed]] = {}
        for one in placed:
            by_file.setdefault(tier.file_start(one.slot_unix_ns), []).append(one)
        for start_unix_ns, of_file in by_file.items():
            shelved = self._shelf.open_file(tier, start_unix_ns)
            try:
                shelved.must_be_there()
                extent = append(shelved.path, self._generation, of_file)
            except StoreDamaged as error:
                # What the file still holds stays readable; what comes goes into another one.
                self._shelf.damage.lose(shelved.lost(), str(error), suspect=shelved.path)
                self._shelf.seal(shelved)
                shelved = self._shelf.open_file(tier, start_unix_ns)
                extent = append(shelved.path, self._generation, of_file)
            self._written.append((shelved, extent))

    def finish(self, connection: sqlite3.Connection) -> None:
        """Make the blocks count, in the caller's transaction on the catalogue."""
        connection.execute("DELETE FROM unfinished WHERE generation = ?", (self._generation,))
        connection.executemany(
            "UPDATE file SET rows = rows + ?1, start_min = min(coalesce(start_min, ?2), ?2), "
            "start_max = max(coalesce(start_max, ?3), ?3) WHERE id = ?4",
            [
                (extent.rows, extent.start_min, extent.start_max, shelved.number)
                for shelved, extent in self._written
            ],
        )

    def abandon(self) -> None:
        """Take back what was written, as far as that is possible; none of it counts anyway."""
        try:
            for shelved in {shelved for shelved, _ in self._written}:
                take_back(shelved.path, self._generation)
            with self._catalogue.writing("take blocks back") as connection:
                connection.execute(
                    "DELETE FROM unfinished WHERE generation = ?", (self._generation,)
                )
        except StoreError:
            return
