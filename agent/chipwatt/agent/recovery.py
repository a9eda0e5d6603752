"""What becomes of a source that falls silent or breaks, and of the sensors behind it.

Silence (transient errors, a sensor left out, a library that hangs) is told to
the reducer once it has lasted. A broken source is closed, and opened anew after
a pause that doubles each time. Its sensors keep their places: a chip that comes
back goes on where it was. What was not there at the start is for ``search`` to find.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from chipwatt.agent.library_worker import LibraryWorker
from chipwatt.agent.opening import Attempt, Note, unnoted
from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.refresh import RefreshMeter
from chipwatt.agent.sensing.contract import Sensor, Source, SourceUnavailable
from chipwatt.core.clock import NS_PER_S, Clock
from chipwatt.core.model import AbsentReason, GapReason

LOST_NS: Final = 5 * NS_PER_S
"""A sensor that is silent for this long, and for four polls, is lost."""
REOPEN_NS: Final = 5 * NS_PER_S
REOPEN_MAX_NS: Final = 64 * REOPEN_NS

_log = logging.getLogger(__name__)


class Silence:
    """Tells the reducer when sensors of one source stop giving."""

    def __init__(
        self,
        reducer: Reducer,
        positions: Sequence[int],
        meters: Sequence[RefreshMeter],
        mono_ns: int,
        names: Sequence[str] = (),
    ) -> None:
        """Begin to wait at ``mono_ns``; ``names`` are the sensors' for the log."""
        self._reducer = reducer
        self._names = names or [f"sensor {position}" for position in positions]
        self._heard_ns = [mono_ns] * len(positions)
        self._positions = positions
        self._meters = meters
        self._since_ns = mono_ns
        self._lost = [False] * len(positions)

    def check(self, now_ns: int, period_ns: int, *, stalled: bool) -> None:
        """Look for sensors without a reading; ``stalled``: their library hangs."""
        patience_ns = max(LOST_NS, 4 * period_ns)
        reason = GapReason.SENSOR_STALLED if stalled else GapReason.SENSOR_LOST
        for slot, meter in enumerate(self._meters):
            heard_ns = max(meter.seen_ns, self._since_ns)
            silent = stalled or now_ns - heard_ns > patience_ns
            if silent and not self._lost[slot]:
                self._reducer.lost(self._positions[slot], now_ns, reason)
                why = "its library hangs" if stalled else "it counts as lost"
                _log.warning(
                    "%s: no reading for %.1f s; %s",
                    self._names[slot],
                    (now_ns - heard_ns) / NS_PER_S,
                    why,
                )
            elif self._lost[slot] and not silent:
                if meter.seen_ns <= self._heard_ns[slot]:
                    continue  # open again, but it has not given anything yet
                _log.warning(
                    "%s: back after %.1f s without a reading",
                    self._names[slot],
                    (meter.seen_ns - self._heard_ns[slot]) / NS_PER_S,
                )
            self._lost[slot] = silent
            if not silent:
                self._heard_ns[slot] = heard_ns

    def all_lost(self, now_ns: int, error: Exception) -> None:
        """Tell that the source broke with ``error``."""
        denied = isinstance(error, PermissionError) or (
            isinstance(error, SourceUnavailable)
            and error.reason in {AbsentReason.PERMISSION_DENIED, AbsentReason.HIDDEN_BY_POLICY}
        )
        reason = GapReason.PERMISSION_LOST if denied else GapReason.SENSOR_LOST
        for slot, position in enumerate(self._positions):
            if not self._lost[slot]:
                self._reducer.lost(position, now_ns, reason)
                self._lost[slot] = True

    def back(self, now_ns: int) -> None:
        """Begin to wait for readings anew: the source is open again."""
        self._since_ns = now_ns


class Reopening:
    """Tries to open one broken source again, without ever holding up the caller."""

    def __init__(
        self, name: str, make: Callable[[], Source], clock: Clock, note: Note = unnoted
    ) -> None:
        self._name = name
        self._make = make
        self._clock = clock
        self._note = note
        self._pause_ns = REOPEN_NS
        self._next_ns = 0
        self._attempt: Attempt | None = None

    def broke(self, now_ns: int, error: Exception) -> None:
        """Note that the source stopped; the next attempt comes after the pause."""
        _log.warning(
            "%s stopped (%s: %s); it is opened again in %d s",
            self._name,
            type(error).__name__,
            error,
            self._pause_ns // NS_PER_S,
        )
        self._next_ns = now_ns + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, REOPEN_MAX_NS)
        self._attempt = None

    def works(self) -> None:
        """Note that it gives readings: the next pause is the shortest again."""
        self._pause_ns = REOPEN_NS

    def attempt(self, now_ns: int) -> tuple[Source, LibraryWorker | None, Sequence[Sensor]] | None:
        """Return the open source, or None while it is not; a library opens over several calls."""
        if now_ns < self._next_ns:
            return None
        try:
            if self._attempt is None:
                self._attempt = Attempt(self._name, self._make, self._clock, self._note)
            sensors = self._attempt.sensors(0.0)
        except Exception as error:  # noqa: BLE001 - a source may come from anywhere; it alone is out
            if self._attempt is not None:
                self._attempt.close()
            self.broke(now_ns, error)
            return None
        if sensors is None:
            return None
        attempt, self._attempt = self._attempt, None
        return attempt.source, attempt.worker, sensors
