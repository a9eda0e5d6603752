"""Where the running sums of one receiver stood when it had answered for everything before.

An interval that was sent in part when a process ended is sent again by the next one. Only if
the sums go on from where they stood do its points say again what they said the first time: a
sum that began anew between points of the last process would read as a reset of all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from chipwatt.collector import array_file
from chipwatt.core.errors import StoreError
from chipwatt.core.log import get
from chipwatt.core.tables import Array

State = Mapping[str, Array]
_FORMAT = b"chipwatt otlp sums 1\n"
_PLACES = "places"
_log = get(__name__)


class Place(NamedTuple):
    """Everything up to ``done`` has been exported, and up to ``read`` what starts before closed."""

    done: int
    read: int
    closed_unix_ns: int

    def later(self, other: Place) -> Place:
        """Return the later of each of the three."""
        return Place(*map(max, self, other))


class SumBook:
    """The file; made, with its directory, where it does not exist."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, place: Place) -> tuple[Place, State] | None:
        """Return the sums, and the place that they are of.

        That is ``place``, or the next where the last process ended before it could say so.
        None, and the reason in the log, where the file is damaged or of no such place: sums begin
        anew then. Raises StoreError.
        """
        try:
            state = array_file.read(self._path, _FORMAT)
            before, at = (Place(*numbers) for numbers in state.pop(_PLACES).tolist())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be read: {error.strerror}") from None
        except (KeyError, TypeError, ValueError) as error:
            _log.warning("otlp sums begin anew", path=str(self._path), reason=str(error))
            return None
        if any(mine not in pair for mine, *pair in zip(place, before, at, strict=True)):
            _log.warning("otlp sums begin anew", path=str(self._path), reason="of another store")
            return None
        return at, state

    def keep(self, before: Place, at: Place, state: State) -> None:
        """Keep the sums as of ``at``, which follows ``before``. Raises StoreError."""
        places = np.array([before, at], np.int64)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            array_file.write(self._path, _FORMAT, {**state, _PLACES: places})
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be written: {error.strerror}") from None
