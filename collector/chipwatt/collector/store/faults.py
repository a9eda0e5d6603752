"""What can go wrong with a store, as sentences.

::

    StoreError          the store cannot be opened, read or written
    ├── StoreFull       the disk or a quota is full: nothing was written, try again later
    └── StoreDamaged    a file does not hold what was written to it
"""

from __future__ import annotations

import errno
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chipwatt.core.errors import StoreError

_UNREADABLE = (
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
)


class StoreFull(StoreError):
    """No room is left; nothing was written, and the same call works once there is room."""


class StoreDamaged(StoreError):
    """A file does not hold what was written to it."""


@contextmanager
def told(path: Path, doing: str) -> Iterator[None]:
    """Turn what SQLite and the system raise into one sentence about ``path``."""
    try:
        yield
    except sqlite3.Error as error:
        raise _from_sqlite(error, path, doing) from error
    except UnicodeDecodeError as error:
        # SQLite quotes a schema whose bytes are damaged.
        raise _damaged(path, error) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(_full(path)) from error
        raise StoreError(f"{path}: cannot {doing}: {error.strerror or error}") from error


@contextmanager
def believed(path: Path) -> Iterator[None]:
    """Turn what impossible contents of a database raise into StoreDamaged."""
    try:
        yield
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, struct.error) as error:
        raise _damaged(path, error) from error


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether a file, or the disk beneath it, does not give what was written to it."""
    code = getattr(error, "sqlite_errorcode", 0)
    return (
        code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        or code in _UNREADABLE
        or "no such table" in str(error)
    )


def _from_sqlite(error: sqlite3.Error, path: Path, doing: str) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(_full(path))
    if is_damage(error):
        return _damaged(path, error)
    return StoreError(f"{path}: cannot {doing}: {error}")


def _damaged(path: Path, error: Exception) -> StoreDamaged:
    return StoreDamaged(f"{path}: damaged ({error}): restore it from a copy, or move it away")


def _full(path: Path) -> str:
    return (
        f"{path}: the disk is full: free some room or shorten the retention; "
        "agents keep what is not stored and send it again"
    )
