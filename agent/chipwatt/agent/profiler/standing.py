"""Where one sensor stands and what it has open: windows and gaps that tile its time.

A window is cut where the sensor's line of edges is cut, and a gap covers the
rest. What was handed out of a line is committed, and a restart goes on there.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Final, NamedTuple

from chipwatt.agent.ledger import Break
from chipwatt.agent.profiler.closed import Closed, Memory
from chipwatt.agent.profiler.grid import Span
from chipwatt.agent.profiler.host_second import Bin
from chipwatt.agent.profiler.window import Counts, Window, counts_between
from chipwatt.agent.sensing.contract import Sensor
from chipwatt.agent.timing import Timing
from chipwatt.core.model import Flag, GapReason
from chipwatt.core.records import Gap, Throttle

_RATE_REDUCED: Final = int(Flag.RATE_REDUCED)


class Turn(NamedTuple):
    """One block of one sensor: when, where its share of the host's sum goes, and what was so then.

    Blocks wait until several can be reduced together, so what may change meanwhile is kept.
    """

    span: Span
    into: Bin
    counts: Counts
    timing: Timing
    rate_reduced: bool
    suspect: bool


class Standing:
    """Position, open window, and what was closed, of one sensor."""

    def __init__(self, sensor: Sensor, memory: Memory | None) -> None:
        self.sensor = sensor
        self.committed = memory
        self.closed: deque[Closed] = deque()
        self.gaps: list[Gap] = []
        self._window: Window | None = None
        self._position_ns = -1
        self._cumulative_uj = 0
        self._epoch = 0
        self._fresh = memory is None
        self._counted = Counts()

    def baseline(self, throttle: Throttle) -> None:
        """Count throttled time from ``throttle`` on: the first report tells the past, too."""
        self._counted = replace(self._counted, throttle=throttle)

    def _leave_gap(self, ahead: Break, reason: GapReason, turn: Turn, timing: Timing) -> None:
        """Close what is open and tell the energy between as a gap."""
        self._mark(turn)
        self._close(turn.counts, timing)
        self.gaps.append(
            Gap(
                device=self.sensor.device,
                domain=self.sensor.domain,
                statistic=self.sensor.statistic,
                start_unix_ns=turn.span.unix_ns(ahead.last_ns),
                start_mono_ns=ahead.last_ns,
                duration_ns=ahead.first_ns - ahead.last_ns,
                lower_uj=ahead.lower_uj,
                upper_uj=ahead.upper_uj,
                reason=reason,
            )
        )
        self._fresh = self._fresh or ahead.epoch != self._epoch

    def _open(self, span: Span) -> Window:
        if self._window is None:
            flags = Flag.EPOCH_START if self._fresh else 0
            start_ns = self._position_ns
            self._window = Window(start_ns, span.unix_ns(start_ns), self._epoch, flags)
            self._fresh = False
        return self._window

    def _mark(self, turn: Turn) -> None:
        if self._window is None:
            return
        self._window.flags |= self._rate_flag(turn)
        if turn.span.stepped:
            self._window.flags |= Flag.CLOCK_STEPPED
        if turn.suspect:
            self._window.flags |= Flag.SUSPECT

    def _close(self, counts: Counts, timing: Timing) -> None:
        """End the open window where we stand, if there is one."""
        if self._window is None:
            return
        own = counts_between(self._counted, counts)
        self._counted = counts
        self.closed.append(
            Closed(
                self.sensor,
                self._window,
                self._position_ns,
                self._cumulative_uj,
                timing,
                own,
            )
        )
        self._window = None
        self._commit()

    def _commit(self) -> None:
        self.committed = Memory(
            self.sensor.device,
            self.sensor.domain,
            self.sensor.statistic,
            self._epoch,
            self._cumulative_uj,
            self._position_ns,
        )

    @staticmethod
    def _rate_flag(turn: Turn) -> int:
        return _RATE_REDUCED if turn.rate_reduced else 0
