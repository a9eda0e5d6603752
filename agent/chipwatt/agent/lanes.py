"""In which order a stream reads the spool: the newest segment first, then what is older.

Who asks what a rack draws now must not wait until yesterday has been sent. The
border is where the newest segment began as the stream was opened. What is behind
it, and everything appended since, goes first, in the spool's order; what is
before it fills the time between. After a short outage there is nothing before it.
"""

from __future__ import annotations

from collections import deque

from chipwatt.agent.spool.contract import Spooled
from chipwatt.agent.spool.record import Position
from chipwatt.agent.spool.threaded import ThreadedSpool

READ_BYTES = 256 << 10
"""How far each lane is read ahead of what is sent."""


class Lanes:
    """Two readers of one spool."""

    def __init__(self, spool: ThreadedSpool, begin: Position, border: Position) -> None:
        """Read from ``begin``, first of all what is behind ``border``, where a segment begins."""
        self._spool = spool
        self._backlog: deque[Spooled] = deque()
        self._newest: deque[Spooled] = deque()
        self._backlog_at, self._newest_at = begin, max(begin, border)
        self._border = border.segment
        self._is_more_newest = True
        self.is_backlog_read = begin >= border
        """Whether all that is before the border has been handed out."""

    async def next(self) -> tuple[Spooled, bool] | None:
        """Return the next record and whether it is of the newest; None where there is none.

        Then ``spool.appended`` is set by the next one. Raises SpoolError.
        """
        if not self._backlog and not self.is_backlog_read:
            read = await self._spool.read_from(self._backlog_at, READ_BYTES)
            self._backlog.extend(one for one in read if one.position.segment < self._border)
            self.is_backlog_read = not self._backlog
        if not self._newest and (self._is_more_newest or self._spool.appended.is_set()):
            self._spool.appended.clear()
            self._newest.extend(await self._spool.read_from(self._newest_at, READ_BYTES))
            self._is_more_newest = bool(self._newest)
        if self._newest:
            record = self._newest.popleft()
            self._newest_at = record.position
            return record, True
        if self._backlog:
            record = self._backlog.popleft()
            self._backlog_at = record.position
            return record, False
        return None
