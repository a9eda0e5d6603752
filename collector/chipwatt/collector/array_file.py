"""Arrays in a file that is written whole or not at all.

A line that names the format, the SHA-256 of what follows in 64 hexadecimal digits and a
newline, then an archive of arrays as ``numpy.savez`` writes it.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from chipwatt.core.durable import sync_directory
from chipwatt.core.tables import Array


def write(path: Path, heading: bytes, arrays: Mapping[str, Array]) -> None:
    """Write a file beside ``path`` and put it in its place; ``heading`` is its first line.

    On return it survives a power cut. Raises OSError.
    """
    archive = io.BytesIO()
    np.savez(archive, allow_pickle=False, **arrays)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(heading + _digest(archive.getbuffer()))
        file.write(archive.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_directory(path.parent)


def read(path: Path, heading: bytes) -> dict[str, Array]:
    """Return the arrays. Raises OSError, and ValueError where it is damaged or another format."""
    raw = path.read_bytes()
    if not raw.startswith(heading):
        raise ValueError("of another format")
    start = len(heading) + len(_digest(b""))
    archive = memoryview(raw)[start:]
    if raw[len(heading) : start] != _digest(archive):
        raise ValueError("damaged: its digest is another")
    with np.load(io.BytesIO(archive), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _digest(archive: bytes | memoryview) -> bytes:
    return hashlib.sha256(archive).hexdigest().encode() + b"\n"
