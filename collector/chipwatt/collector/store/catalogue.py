"""The catalogue database: its schema, its lock, its one writer and its many readers."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chipwatt.collector.store.anchor import Anchor
from chipwatt.collector.store.faults import told
from chipwatt.collector.store.sqlite_file import connect, reading, writing
from chipwatt.core.durable import sync_directory
from chipwatt.core.errors import StoreError

SCHEMA = 1
BLOCKS = "blocks"
"""Directory of the files that ``shelf`` keeps."""
COMMITS = "commits"
"""File that ``tally`` keeps."""
_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE host (
  id INTEGER PRIMARY KEY, host BLOB NOT NULL UNIQUE, name TEXT NOT NULL,
  first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL,
  agent_version INTEGER NOT NULL, clock_offset INTEGER NOT NULL);
CREATE TABLE device (
  id INTEGER PRIMARY KEY, host INTEGER NOT NULL, kind INTEGER NOT NULL,
  ordinal INTEGER NOT NULL, uid BLOB NOT NULL);
CREATE TABLE stream (
  id INTEGER PRIMARY KEY, host BLOB NOT NULL, boot BLOB NOT NULL, spool_epoch BLOB NOT NULL,
  seen BLOB NOT NULL, digests BLOB NOT NULL, UNIQUE (host, boot, spool_epoch));
CREATE TABLE receipt (
  id INTEGER PRIMARY KEY AUTOINCREMENT, received INTEGER NOT NULL, entries BLOB NOT NULL);
CREATE TABLE part (
  position INTEGER PRIMARY KEY AUTOINCREMENT, received INTEGER NOT NULL, kind INTEGER NOT NULL,
  rows INTEGER NOT NULL, start_min INTEGER NOT NULL, start_max INTEGER NOT NULL,
  hosts BLOB NOT NULL, data BLOB NOT NULL);
CREATE TABLE status (
  host INTEGER NOT NULL, kind INTEGER NOT NULL, key INTEGER NOT NULL,
  stream INTEGER NOT NULL, sequence BLOB NOT NULL, row TEXT NOT NULL,
  PRIMARY KEY (host, kind, key)) WITHOUT ROWID;
CREATE TABLE file (
  id INTEGER PRIMARY KEY AUTOINCREMENT, tier INTEGER NOT NULL, start INTEGER NOT NULL,
  sealed INTEGER NOT NULL DEFAULT 0, rows INTEGER NOT NULL DEFAULT 0,
  start_min INTEGER, start_max INTEGER);
CREATE TABLE unfinished (generation INTEGER PRIMARY KEY);
CREATE TABLE cursor (name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE ledger (shard INTEGER PRIMARY KEY, ranges BLOB NOT NULL);
CREATE TABLE quarantine (
  id INTEGER PRIMARY KEY AUTOINCREMENT, received INTEGER NOT NULL, host BLOB NOT NULL,
  boot BLOB NOT NULL, spool_epoch BLOB NOT NULL, sequence BLOB NOT NULL, digest BLOB NOT NULL,
  payload BLOB NOT NULL);
"""


_LATER = """
CREATE TABLE IF NOT EXISTS fingerprint (
  id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, chunk INTEGER NOT NULL,
  day INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE (stream, chunk));
CREATE INDEX IF NOT EXISTS fingerprint_day ON fingerprint (day);
CREATE TABLE IF NOT EXISTS line (shard INTEGER PRIMARY KEY, ends BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS workload_minute (
  id INTEGER PRIMARY KEY AUTOINCREMENT, host INTEGER NOT NULL, start INTEGER NOT NULL,
  data BLOB NOT NULL, UNIQUE (host, start));
CREATE INDEX IF NOT EXISTS workload_minute_start ON workload_minute (start);
CREATE TABLE IF NOT EXISTS held_alone (device INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS merged (host INTEGER PRIMARY KEY, seconds BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS damage (
  place TEXT PRIMARY KEY, start_min INTEGER NOT NULL, start_max INTEGER NOT NULL,
  kind INTEGER NOT NULL, hosts BLOB NOT NULL) WITHOUT ROWID;
"""
"""Tables that came after the first release; who does not know them loses nothing by it."""


class Catalogue:
    """One database that says what is in the store; its commits are the store's commits."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "catalogue.sqlite"
        self.lock = threading.RLock()
        """Held by whoever writes to the catalogue."""
        self._idle: list[sqlite3.Connection] = []
        self._idle_lock = threading.Lock()
        self._closed = False
        self._lock_file = _claim(directory)
        try:
            with told(self.path, "open the store"):
                self._writer = connect(self.path, create=True, write=True)
            try:
                self._prepare()
                self._anchor = Anchor(self.path)
            except BaseException:
                self._writer.close()
                raise
        except BaseException:
            os.close(self._lock_file)
            raise

    def _prepare(self) -> None:
        with told(self.path, "read the store's schema"):
            found = int(self._writer.execute("PRAGMA user_version").fetchone()[0])
            if found > SCHEMA:
                raise StoreError(
                    f"{self.path}: written by a newer Chipwatt (store schema {found}, this one "
                    f"knows {SCHEMA}): run that version, or give another store.path"
                )
            if not found:
                self._must_be_alone()
                with writing(self._writer):
                    for statement in _TABLES.split(";"):
                        self._writer.execute(statement)
                    self._writer.execute(f"PRAGMA user_version={SCHEMA}")
            with writing(self._writer):
                for statement in _LATER.split(";"):
                    self._writer.execute(statement)
            # What is not in the log cannot be lost with the end of it.
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _must_be_alone(self) -> None:
        """Refuse to begin anew beside files that only a lost catalogue can explain."""
        blocks, commits = self.directory / BLOCKS, self.directory / COMMITS
        for name, is_there in (
            ("blocks", blocks.is_dir() and any(blocks.iterdir())),
            ("a list of commits", commits.is_file() and commits.stat().st_size > 0),
        ):
            if is_there:
                raise StoreError(
                    f"{self.directory}: holds {name} but no catalogue: restore {self.path.name} "
                    "from a copy, or move the whole directory away to begin anew"
                )

    def renew(self, table: str) -> None:
        """Begin a damaged table anew; its pages stay behind unused. Raises StoreError."""
        with self.lock, told(self.path, f"begin {table} anew"):
            with writing(self._writer):
                self._writer.execute("PRAGMA writable_schema=ON")
                self._writer.execute("DELETE FROM sqlite_schema WHERE tbl_name = ?", (table,))
                version = self._writer.execute("PRAGMA schema_version").fetchone()[0]
                self._writer.execute(f"PRAGMA schema_version={version + 1}")
            self._writer.execute("PRAGMA writable_schema=RESET")
            with writing(self._writer):
                for statement in (_TABLES + _LATER).split(";"):
                    made = statement.replace(" IF NOT EXISTS", "").split("(", 1)[0].split()
                    if made[:1] == ["CREATE"] and table in made:
                        self._writer.execute(statement)

    @contextmanager
    def writing(self, doing: str) -> Iterator[sqlite3.Connection]:
        """Run one durable transaction. Raises StoreError."""
        with self.lock, told(self.path, doing):
            if self._closed:
                raise StoreError(f"{self.directory}: the store is closed")
            with writing(self._writer) as connection:
                yield connection
                self._anchor.check()
            self._anchor.check_committed()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """See one state of the catalogue, without waiting for the writer. Raises StoreError."""
        with told(self.path, "read the store"):
            connection = self._lease()
            try:
                with reading(connection):
                    yield connection
            finally:
                with self._idle_lock:
                    if self._closed:
                        connection.close()
                    else:
                        self._idle.append(connection)

    def _lease(self) -> sqlite3.Connection:
        with self._idle_lock:
            if self._closed:
                raise StoreError(f"{self.directory}: the store is closed")
            if self._idle:
                return self._idle.pop()
        return connect(self.path)

    def close(self) -> None:
        """Close every connection that is not in use and give up the lock; twice is harmless."""
        with self.lock, self._idle_lock:
            if self._closed:
                return
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()
            self._writer.close()
            os.close(self._lock_file)


def number(connection: sqlite3.Connection, name: str) -> int:
    """Return a counter of the ``meta`` table; 0 where it was never set."""
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else 0


def set_number(connection: sqlite3.Connection, name: str, value: int) -> None:
    """Set a counter of the ``meta`` table; text, because sums of µJ outgrow 63 bits."""
    connection.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
        (name, str(value)),
    )


def _claim(directory: Path) -> int:
    """Make the directory and take its lock."""
    if directory.exists() and not directory.is_dir():
        raise StoreError(f"{directory}: not a directory: give a directory as store.path")
    with told(directory, "make the store's directory"):
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        sync_directory(directory.parent)
        lock_file = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock_file)
        raise StoreError(
            f"{directory}: another collector has this store open: stop it, "
            "or give another store.path"
        ) from None
    return lock_file
