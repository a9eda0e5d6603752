"""What makes names on a disk survive a power cut."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

Sync = Callable[[int], None]
"""``os.fsync`` or what a test puts in its place."""


def sync_directory(path: Path, sync: Sync = os.fsync) -> None:
    """Make the names in a directory durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(path: Path, content: bytes, *, mode: int, sync: Sync = os.fsync) -> None:
    """Put ``content`` in the place of a file; readers see the old one or the new one, whole.

    It has ``mode`` whatever the umask and is this process's, needs no privilege, and
    nobody else can open it before it is complete. Raises OSError; the older file is
    then as it was and nothing lies beside it, unless only making the name durable failed.
    """
    _replace(path, content, lambda descriptor: os.fchmod(descriptor, mode), sync)


def replace_keeping_group(path: Path, content: bytes, *, mode: int, sync: Sync = os.fsync) -> None:
    """Do the same; a file that is replaced keeps its group and what its group may.

    A new file has ``mode``. Giving a file to a group that this process is not in takes
    CAP_CHOWN and a system call that most of the shipped units forbid. Raises OSError.
    """
    _replace(path, content, _like(path, mode), sync)


def write_scratch(
    scratch: Path, content: bytes, *, like: Path, mode: int, sync: Sync = os.fsync
) -> None:
    """Write what is to take a name later, whole and on the disk, over what a killed one left.

    It has the group of ``like`` and what that group may there, or ``mode`` where there is no
    such file. Raises OSError; nothing is left then.
    """
    _write(scratch, content, _like(like, mode), sync)


def _like(path: Path, mode: int) -> Callable[[int], None]:
    def own(descriptor: int) -> None:
        kept = mode
        with suppress(FileNotFoundError):
            older = path.stat()
            os.fchown(descriptor, -1, older.st_gid)
            kept |= older.st_mode & 0o060
        os.fchmod(descriptor, kept)

    return own


def _replace(path: Path, content: bytes, own: Callable[[int], None], sync: Sync) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    _write(scratch, content, own, sync)
    try:
        scratch.replace(path)
    except BaseException:
        with suppress(OSError):
            scratch.unlink()
        raise
    sync_directory(path.parent, sync)


def _write(scratch: Path, content: bytes, own: Callable[[int], None], sync: Sync) -> None:
    scratch.unlink(missing_ok=True)  # of a process that was killed and chose this name
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            own(descriptor)
            file.write(content)
            file.flush()
            sync(descriptor)
    except BaseException:
        with suppress(OSError):
            scratch.unlink()
        raise
