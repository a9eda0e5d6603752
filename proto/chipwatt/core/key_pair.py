"""Replaces certificate and key on a disk, so that a pair that fits can be read at every moment.

The order, each step on the disk before the next::

    .ca.new .key.new .cert.new .key.before.new   all written, nothing replaced yet
    ca, if there is a new one
    key.before                                   a copy of the older key
    key                                          from here on key.before is the one that fits
    cert                                         from here on key is
    key.before is removed

Who reads takes the key that fits (``tls``). A renewal begins with what a killed one left.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from chipwatt.core.durable import Sync, sync_directory, write_scratch
from chipwatt.core.tls import Material, TlsFiles, are_pair, older_key

_PUBLIC, _SECRET = 0o644, 0o600


def replace_pair(files: TlsFiles, new: Material, *, sync: Sync = os.fsync) -> None:
    """Write or replace certificate and key, and the authority where ``new.ca`` is not empty.

    Files keep their group and what it may. Raises OSError; certificate and key are then the older
    ones, or both new where only making their names durable failed. One at a time for a folder.
    """
    for folder in {path.parent for path in (files.ca, files.cert, files.key)}:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(files.key.parent):
        _finish(files, sync)
        _replace(files, new, sync)


def _finish(files: TlsFiles, sync: Sync) -> None:
    """Put back, or remove, the older key that a killed renewal left."""
    older = older_key(files.key)
    if not older.exists():
        return
    if are_pair(files.cert, files.key):
        for path in (files.key, files.cert):  # perhaps it was killed before this
            sync_directory(path.parent, sync)
        older.unlink()
    elif are_pair(files.cert, older):
        older.replace(files.key)
    sync_directory(older.parent, sync)


def _replace(files: TlsFiles, new: Material, sync: Sync) -> None:
    older = older_key(files.key)
    steps: list[tuple[Path, bytes, int]] = [(files.ca, new.ca, _PUBLIC)] if new.ca else []
    if files.key.exists():
        steps.append((older, files.key.read_bytes(), _SECRET))
    steps += [(files.key, new.key, _SECRET), (files.cert, new.cert, _PUBLIC)]
    placed: list[Path] = []
    try:
        for path, content, mode in steps:
            like = files.key if path == older else path
            write_scratch(_scratch(path), content, like=like, mode=mode, sync=sync)
        for path, _, _ in steps:
            _scratch(path).replace(path)
            placed.append(path)
            sync_directory(path.parent, sync)
    except BaseException:
        with suppress(OSError):  # the key that fits is read from where it is
            _undo(files, placed)
        for path, _, _ in steps:
            with suppress(OSError):
                _scratch(path).unlink(missing_ok=True)
        raise
    with suppress(OSError):  # the next renewal removes it
        older.unlink(missing_ok=True)
        sync_directory(older.parent, sync)


def _undo(files: TlsFiles, placed: Sequence[Path]) -> None:
    older = older_key(files.key)
    if files.cert in placed:
        return  # a power cut may bring the older certificate back, and its key is to be there
    if files.key not in placed:
        older.unlink(missing_ok=True)
    elif older in placed:
        older.replace(files.key)
    else:
        files.key.unlink()


def _scratch(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for others: of a timer's and a person's renewal a key and a certificate could stay."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
