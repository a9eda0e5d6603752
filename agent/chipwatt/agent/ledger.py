"""Readings of one sensor to exact cumulative energy at edges.

An *edge* is a moment at which the cumulative energy of an epoch is known: a
change of a counter, a sample of a gauge. Between two edges energy is spread
evenly, in integers. Where the line of edges is interrupted there is a
``Break``: either the energy between is known and only its course is not (a
counter read again after a silence), or it is not known and the break is a gap.

What is never done: a joule is not invented (an impossible rise does not move
the ledger), not lost (a plausible rise always does), not counted twice.

Bounds of a gap. A counter that starts anew may start at any value, so its
first value says nothing and the lower bound is 0. The upper bound is the
largest power the sensor can show times the time since the last edge, plus one
resolution for energy that the counter had yet to show at that edge. A counter
that may have wrapped an unknown number of times gives ``delta`` at least and
``delta + k * modulus`` at most, with k as large as power allows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections import deque
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from chipwatt.agent.limit_doubt import LimitDoubt
from chipwatt.agent.timing import Timing
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.model import GapReason

NS_MW_PER_UJ = 1_000_000
"""mW times ns in one µJ."""


@dataclass(frozen=True, slots=True)
class Break:
    """An interruption between the edges at ``last_ns`` and ``first_ns``."""

    last_ns: int
    first_ns: int
    epoch: int
    """Of the edges from ``first_ns`` on."""
    lower_uj: int
    upper_uj: int
    reason: GapReason | None
    """None: the energy is known, and the bounds are equal."""
    flags: int = 0


class Rejected(NamedTuple):
    """A reading that was dropped. A raw value, so it stays on this host."""

    mono_ns: int
    raw: int
    """µJ of a counter, mW of a gauge."""
    least: int
    most: int
    """What it could have been, from ``least`` on."""


class Ledger(ABC):
    """What counters and gauges share: the line of edges and its interruptions.

    ``times_ns`` and ``cumulative_uj`` are the edges, oldest first; the reader
    drops those it has used. ``holes`` are times without an answer that are
    too long to be covered and too short to be a break.
    """

    counter: ClassVar[bool]

    def __init__(
        self, timing: Timing, *, max_power_mw: int, unix_offset_ns: int, utmost_mw: int = 0
    ) -> None:
        """Believe power up to ``max_power_mw``; up to ``utmost_mw`` where that proves wrong."""
        self.times_ns = array("q")
        self.cumulative_uj = array("q")
        self.breaks: deque[Break] = deque()
        self.holes: deque[tuple[int, int]] = deque()
        self.epoch = self.first_epoch = 0
        self.got = self.repeated = self.dropped = 0
        self.frozen = False
        """Whether it answers, but is judged to have stopped counting."""
        self.rejected: Rejected | None = None
        """The newest reading that was dropped."""
        self.seen_ns = -1
        """Stamp of the last believed answer."""
        self.changed_ns = -1
        """Stamp of the last change of value."""
        self.unix_offset_ns = unix_offset_ns
        self._max_power_mw = max_power_mw
        self._limit_doubt = LimitDoubt(counter=self.counter, utmost_mw=utmost_mw)
        self._plain_ns = 0
        """Answers at most this far apart need no second look; 0 while anything is unusual."""
        self._away: GapReason | None = None
        self.timing = timing

    @abstractmethod
    def observe(self, mono_ns: int, value: int) -> None:
        """Take one reading; an equal or older stamp is not a new one."""

    def resume(
        self, epoch: int, cumulative_uj: int, end_mono_ns: int, *, frozen: bool = False
    ) -> None:
        """Go on where an earlier process of this boot ended; to be called before any reading.

        ``frozen``: that process had judged it stuck there.
        """
        self.frozen = frozen
        self.epoch = self.first_epoch = epoch
        self.seen_ns = self.changed_ns = end_mono_ns
        self._edge(end_mono_ns, cumulative_uj)
        self._away = GapReason.SENSOR_STALLED if frozen else GapReason.AGENT_DOWN

    def distrust(self) -> None:
        """Begin anew behind what was resumed from: some of what came since may be counted."""
        self._away, self.frozen = GapReason.SPOOL_DAMAGED, False

    def retime(self, timing: Timing) -> None:
        """Believe ``timing`` from now on."""
        self.timing = timing
        self._plain_ns = timing.allowed_ns if self._plain_ns else 0

    def hold(self) -> None:
        """Record that the value stood still until the last answer."""
        if self.times_ns and self.seen_ns > self.times_ns[-1]:
            self._edge(self.seen_ns, self.cumulative_uj[-1])

    def settle(self) -> None:
        """Make up one's mind: no reading comes any more.

        A value that has stood still for no longer than its refresh allows says
        nothing yet; what follows its last change is the next process's to tell.
        """
        if self.times_ns and self.seen_ns - self.times_ns[-1] > self.timing.allowed_ns:
            self.hold()

    def lost(self, reason: GapReason) -> None:
        """Expect nothing until the next reading; the value held until the last answer."""
        if self.times_ns and self._away is None:
            self.hold()
            self._away, self._plain_ns = reason, 0

    def forget(self, edges: int) -> None:
        """Drop the oldest ``edges``."""
        del self.times_ns[:edges], self.cumulative_uj[:edges]

    @property
    def max_power_mw(self) -> int:
        """Up to what power is believed."""
        return self._max_power_mw

    @property
    def away(self) -> bool:
        """Whether nothing is to be expected for now."""
        return self._away is not None or not self.times_ns

    def _reject(self, mono_ns: int, raw: int, least: int, most: int) -> None:
        self.dropped += 1
        self.rejected = Rejected(mono_ns, raw, least, most)

    def _reject_power(self, mono_ns: int, raw: int, least: int, most: int) -> None:
        """Reject what is too much for the bound, or give the bound up."""
        self._reject(mono_ns, raw, least, most)
        raised_mw = self._limit_doubt.raised_mw(self.seen_ns, mono_ns, raw)
        if raised_mw > self._max_power_mw:
            self._max_power_mw = raised_mw
            self.retime(self.timing)

    def _edge(self, mono_ns: int, cumulative_uj: int) -> None:
        self.times_ns.append(mono_ns)
        self.cumulative_uj.append(cumulative_uj)

    def _next_epoch(self, mono_ns: int) -> int:
        return max(self.epoch + 1, (mono_ns + self.unix_offset_ns) // NS_PER_S)

    def _gap(self, mono_ns: int, reason: GapReason, lower_uj: int, upper_uj: int) -> None:
        gap = Break(self.times_ns[-1], mono_ns, self.epoch, lower_uj, upper_uj, reason)
        self.breaks.append(gap)

    def _resume_plain(self) -> None:
        self._away, self._plain_ns = None, self.timing.allowed_ns
