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

    A new file has ``mode``; one that is replaced keeps its group and what its group may.
    Nobody else can open it, at no time. Raises OSError.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with suppress(FileNotFoundError):
            older = path.stat()
            os.fchown(descriptor, -1, older.st_gid)
            mode |= older.st_mode & 0o060
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        sync(file.fileno())
    scratch.replace(path)
    sync_directory(path.parent, sync)
