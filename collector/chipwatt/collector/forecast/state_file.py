"""The forecast's memory on disk."""

from __future__ import annotations

from pathlib import Path

from chipwatt.collector import array_file
from chipwatt.collector.forecast.carry import State
from chipwatt.collector.forecast.forecaster import Forecaster
from chipwatt.core import log

_log = log.get(__name__)
_FORMAT = b"chipwatt forecast 1\n"


def save(path: Path, state: State) -> None:
    """Write a state beside the file and put it in its place. Raises OSError."""
    array_file.write(path, _FORMAT, state)


def load(path: Path, forecaster: Forecaster) -> bool:
    """Restore a fresh forecaster; return False, and say why, where it has to start cold.

    A file that is damaged, of another version or of other horizons is left as it is:
    the next save replaces it.
    """
    try:
        forecaster.restore(array_file.read(path, _FORMAT))
    except FileNotFoundError:
        _log.info("forecast starts cold: no state file yet", path=str(path))
        return False
    except (OSError, ValueError) as error:
        _log.warning("forecast starts cold: state file refused", path=str(path), reason=str(error))
        return False
    return True
