"""What the forecast has learned, on disk from process to process."""

from __future__ import annotations

from pathlib import Path

from chipwatt.collector.forecast import state_file
from chipwatt.collector.placement.predictions import Predictions
from chipwatt.core import log
from chipwatt.core.clock import NS_PER_S

_EVERY_NS = 60 * NS_PER_S
_log = log.get(__name__)


class ForecastMemory:
    """The file at ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved_unix_ns = 0

    def is_due(self, now_unix_ns: int) -> bool:
        """Return whether a minute has gone by since the last time."""
        return abs(now_unix_ns - self._saved_unix_ns) >= _EVERY_NS

    def save(self, predictions: Predictions, now_unix_ns: int) -> None:
        """Write what has been learned; where the disk refuses, say so: the next minute may do."""
        if predictions.second < 0:
            return
        self._saved_unix_ns = now_unix_ns
        try:
            state_file.save(self._path, predictions.state())
        except OSError as error:
            _log.warning("forecast not saved", path=str(self._path), reason=str(error))

    def recall(self, cold: Predictions) -> Predictions:
        """Return predictions with what the file knows.

        A file that cannot be used is set aside, so that it can be looked into, and the
        forecast starts cold.
        """
        try:
            if state_file.load(self._path, cold.forecaster) or not self._path.exists():
                return cold
        except (ValueError, IndexError, KeyError, TypeError) as error:
            _log.warning("forecast starts cold: state does not fit", reason=str(error))
        aside = self._path.with_name(self._path.name + ".refused")
        try:
            self._path.replace(aside)
        except OSError as error:
            _log.warning("forecast state not set aside", path=str(aside), reason=str(error))
        else:
            _log.warning("forecast state set aside", path=str(aside))
        return cold.anew()
