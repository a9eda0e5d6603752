"""What retention takes for now: a clock that jumped deletes nothing.

The collector's wall clock may come up years ahead, or be set so. Retention
therefore keeps a time of its own, saved in the catalogue:

1. It begins, once, at the earlier of the clock and the median of the hosts'
   newest rows, whose clocks are others than ours.
2. It advances by the monotonic time that went by, which is true whatever the
   wall clock does.
3. Where it is behind, because the collector was down or the clock was wrong, it
   catches up only while the clock and the median of what hosts sent lately
   agree that it is later, and ``CATCH_UP`` times as fast as time goes by: even a
   whole site that jumps ten years needs five months to age by them.
4. It is never later than the clock, and never goes back.

So with a clock that is ahead history is kept for longer than asked, for as long as
it takes somebody to set it right, and a log line says so.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from chipwatt.collector.store.catalogue import number, set_number
from chipwatt.collector.store.config import DAY_NS
from chipwatt.core.log import get

CATCH_UP = 24
"""Hours that retention may go forward in an hour; a month of downtime is caught up in 30."""
_NAME = "retention_unix_ns"
_log = get(__name__)


class Pace:
    """The time of retention; used by the one thread that expires."""

    def __init__(self, connection: sqlite3.Connection, mono_ns: Callable[[], int]) -> None:
        self._mono_ns = mono_ns
        self._last_mono_ns = mono_ns()
        self._unix_ns = number(connection, _NAME)
        self._told = False

    def now(self, clock_unix_ns: int, sent_unix_ns: int | None) -> int:
        """Return the time to keep by; 0, at which nothing is old, while no host has sent any.

        ``sent_unix_ns`` is the median of the newest ends of rows of the hosts that
        sent any since the last call, None where none did.
        """
        mono_ns = self._mono_ns()
        elapsed_ns = mono_ns - self._last_mono_ns
        self._last_mono_ns = mono_ns
        if not self._unix_ns:
            self._unix_ns = min(clock_unix_ns, sent_unix_ns or 0)
            return self._unix_ns
        believed = self._unix_ns + elapsed_ns
        if sent_unix_ns is not None:
            believed = max(believed, min(sent_unix_ns, self._unix_ns + CATCH_UP * elapsed_ns))
        self._unix_ns = max(self._unix_ns, min(clock_unix_ns, believed))
        behind = clock_unix_ns - self._unix_ns > DAY_NS
        if behind and not self._told:
            _log.warning(
                "the clock is far ahead of the time that went by: retention waits",
                days_ahead=(clock_unix_ns - self._unix_ns) // DAY_NS,
            )
        self._told = behind
        return self._unix_ns

    def save(self, connection: sqlite3.Connection) -> None:
        """Write how far it is, in the caller's transaction."""
        set_number(connection, _NAME, self._unix_ns)
