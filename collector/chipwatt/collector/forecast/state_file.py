"""The forecast's memory on disk: one file, written whole or not at all.

A line that names the format, the SHA-256 of what follows in 64 hexadecimal digits and a
newline, then an archive of arrays as ``numpy.savez`` writes it.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import numpy as np

from chipwatt.collector.forecast.carry import State
from chipwatt.collector.forecast.forecaster import Forecaster
from chipwatt.core import log
from chipwatt.core.durable import sync_directory

_log = log.get(__name__)
_FORMAT = b"chipwatt forecast 1\n"


def save(path: Path, state: State) -> None:
    """Write a state beside the file and put it in its place. Raises OSError."""
    arrays = io.BytesIO()
    np.savez(arrays, allow_pickle=False, **state)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(_FORMAT + _digest(arrays.getbuffer()))
        file.write(arrays.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_directory(path.parent)


def load(path: Path, forecaster: Forecaster) -> bool:
    """Restore a fresh forecaster; return False, and say why, where it has to start cold.

    A file that is damaged, of another version or of other horizons is left as it is:
    the next save replaces it.
    """
    try:
        forecaster.restore(_parse(path.read_bytes()))
    except FileNotFoundError:
        _log.info("forecast starts cold: no state file yet", path=str(path))
        return False
    except (OSError, ValueError) as error:
        _log.warning("forecast starts cold: state file refused", path=str(path), reason=str(error))
        return False
    return True


def _parse(raw: bytes) -> State:
    if not raw.startswith(_FORMAT):
        raise ValueError("of another format, or no state of a forecast at all")
    start = len(_FORMAT) + len(_digest(b""))
    arrays = memoryview(raw)[start:]
    if raw[len(_FORMAT) : start] != _digest(arrays):
        raise ValueError("damaged: its digest is another")
    with np.load(io.BytesIO(arrays), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _digest(arrays: bytes | memoryview) -> bytes:
    return hashlib.sha256(arrays).hexdigest().encode() + b"\n"
