"""One sensor on its way from edges to windows: its line of edges cut into pieces and reduced.

A window that would have to wait for a silent sensor is cut at the last edge,
and the next one begins there, so that energy stays beside the time in which it
was spent.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from chipwatt.agent.counter_ledger import CounterLedger
from chipwatt.agent.gauge_ledger import GaugeLedger
from chipwatt.agent.ledger import Break, Ledger
from chipwatt.agent.profiler.block import Shape
from chipwatt.agent.profiler.closed import Memory
from chipwatt.agent.profiler.grid import Span
from chipwatt.agent.profiler.host_second import Bin, kind_of
from chipwatt.agent.profiler.partial import CELLS_A_SECOND, Partial, Piece
from chipwatt.agent.profiler.standing import Standing, Turn
from chipwatt.agent.profiler.window import Counts
from chipwatt.agent.sensing.contract import Quantity, Sensor
from chipwatt.agent.sensing.plausible import FLOOR_MW
from chipwatt.agent.timing import Timing
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.model import Flag, GapReason
from chipwatt.core.records import Throttle

_WRONG_BY: Final = 10
"""So many times what is possible anyhow is the most that a sensor proves its limit wrong to."""
_TELLING: Final = 8
"""Edges in one piece that tell their spacing."""


class Track(Standing):
    """State of one sensor."""

    def __init__(self, sensor: Sensor, unix_offset_ns: int, memory: Memory | None) -> None:
        super().__init__(sensor, memory)
        self.doubted: Callable[[], bool] = lambda: False
        """Whether it stands still and may be judged stuck: then nobody says yet what it drew."""
        self.ledger = _ledger(sensor, unix_offset_ns)
        self.rate_reduced = False
        self.expected = 0
        self.throttle = Throttle()
        self._kind = kind_of(sensor)
        self._shape = Shape()
        if memory is not None:
            self.ledger.resume(
                memory.epoch, memory.cumulative_uj, memory.end_mono_ns, frozen=memory.frozen
            )
            if memory.in_doubt:
                self.ledger.distrust()

    @property
    def timing(self) -> Timing:
        return self.ledger.timing

    @property
    def settled(self) -> bool:
        """Whether it is known how often the value is fresh, so that blocks may wait for others."""
        timing = self.ledger.timing
        return bool(timing.refresh_ns and timing.period_ns)

    def counts(self) -> Counts:
        """Return everything counted so far."""
        ledger = self.ledger
        return Counts(self.expected, ledger.got, ledger.repeated, ledger.dropped, self.throttle)

    def turn(self, span: Span, into: Bin, *, suspect: bool) -> Turn:
        """Keep what is so at the end of a block."""
        return Turn(span, into, self.counts(), self.timing, self.rate_reduced, suspect)

    def end(self) -> None:
        """Close what is open where it stands, and remember even a single edge."""
        self._start()
        self._close(self.counts(), self.timing)
        if self._position_ns >= 0:
            self._commit()

    @property
    def memory(self) -> Memory | None:
        """Where its line ends in what was closed; None before anything was."""
        known, ledger = self.committed, self.ledger
        if known is None or not ledger.frozen or known.end_mono_ns != ledger.times_ns[-1]:
            return known
        return replace(known, frozen=True)

    def ready(self, end_ns: int, mono_ns: int) -> bool:
        """Whether the block that ends at ``end_ns`` can be closed: all of it seen, or no hope."""
        ledger = self.ledger
        if ledger.away or ledger.times_ns[-1] >= end_ns:
            return True
        if mono_ns < end_ns + ledger.timing.silence_ns or self.doubted():
            return False
        ledger.hold()
        return True

    def lost(self, reason: GapReason) -> None:
        """Expect nothing until the next reading; what was in doubt by then is not known."""
        if isinstance(self.ledger, CounterLedger) and self.doubted():
            self.ledger.freeze()
        self.ledger.lost(reason)

    def silent(self, mono_ns: int) -> bool:
        """Whether nothing is to be expected, or nothing has changed for longer than one waits."""
        ledger = self.ledger
        return ledger.away or mono_ns - ledger.times_ns[-1] >= ledger.timing.silence_ns

    def advance(self, turns: Sequence[Turn]) -> int:
        """Reduce the first block of ``turns``, with it those that can be; return how many."""
        self._start()
        together = self._together(turns)
        if together > 1:
            self._reduce_together(turns[:together])
        else:
            self._reduce_one(turns[0])
        last = turns[together - 1]
        if last.span.ends_window and self._position_ns <= last.span.end_ns:
            self._close(last.counts, self.timing)
        return together

    def _together(self, turns: Sequence[Turn]) -> int:
        """Count the blocks that can be reduced as one: whole seconds in which nothing happened."""
        ledger, first = self.ledger, turns[0]
        timing = first.timing
        known = timing.refresh_ns and timing.period_ns
        if not known or self._position_ns != first.span.start_ns:
            return 1
        self._drop_holes(first.span.start_ns)
        limit_ns = ledger.breaks[0].last_ns if ledger.breaks else ledger.times_ns[-1]
        if ledger.holes:
            limit_ns = min(limit_ns, ledger.holes[0][0])
        count = 0
        for turn in turns:
            span = turn.span
            if span.length_ns != NS_PER_S or span.end_ns > limit_ns or span.stepped:
                break
            if turn.timing is not timing or turn.rate_reduced is not first.rate_reduced:
                break
            count += 1
            if span.ends_window:
                break
        return max(1, count)

    def _reduce_together(self, turns: Sequence[Turn]) -> None:
        first, last = turns[0], turns[-1]
        start_ns, end_ns, timing = first.span.start_ns, last.span.end_ns, first.timing
        piece, partial = self._shape_of(start_ns, end_ns, start_ns, end_ns, timing, len(turns))
        window = self._open(first.span)
        flags = Flag.SUSPECT if any(turn.suspect for turn in turns) else 0
        window.flags |= flags | self._rate_flag(first)
        begin_uj = self._cumulative_uj
        if self.sensor.root:
            cells_uj = partial.cells_uj
            for number, turn in enumerate(turns):
                until_uj = piece.at_uj(turn.span.end_ns)
                at = slice(number * CELLS_A_SECOND, (number + 1) * CELLS_A_SECOND)
                cells = None if cells_uj is None else cells_uj[at]
                energy_uj = until_uj - self._cumulative_uj
                turn.into.add(self.sensor.device, self._kind, energy_uj, cells, timing)
                turn.into.hear(self.sensor.device, NS_PER_S, self._flags(turn))
                self._cumulative_uj = until_uj
        self._cumulative_uj = piece.at_uj(end_ns)
        window.add(self._cumulative_uj - begin_uj, partial, timing)
        self._leave(end_ns)

    def _reduce_one(self, turn: Turn) -> None:
        """Reduce what is known up to the end of one block and close what ends there."""
        ledger, span = self.ledger, turn.span
        covered_ns = 0
        if ledger.times_ns:
            while True:
                ahead = ledger.breaks[0] if ledger.breaks else None
                limit_ns = ahead.last_ns if ahead else ledger.times_ns[-1]
                end_ns = min(span.end_ns, limit_ns)
                if end_ns > self._position_ns:
                    covered_ns += self._reduce(turn, end_ns)
                if ahead is None or ahead.last_ns >= span.end_ns:
                    break
                self._cross(ahead, turn)
        if self.sensor.root:
            turn.into.hear(self.sensor.device, covered_ns, self._flags(turn))
        self._mark(turn)

    def _flags(self, turn: Turn) -> int:
        return self.sensor.flags | self._rate_flag(turn)

    def _start(self) -> None:
        """Stand on the first edge, once there is one."""
        ledger = self.ledger
        if self._position_ns < 0 and ledger.times_ns:
            self._position_ns, self._cumulative_uj = ledger.times_ns[0], ledger.cumulative_uj[0]
            self._epoch = ledger.first_epoch

    def _reduce(self, turn: Turn, end_ns: int) -> int:
        """Reduce from where we stand to ``end_ns``; return the covered time."""
        span, start_ns = turn.span, self._position_ns
        self._learn(start_ns, end_ns)
        known = turn.timing.refresh_ns and turn.timing.period_ns
        timing = turn.timing if known else self.timing
        piece, partial = self._shape_of(span.start_ns, span.end_ns, start_ns, end_ns, timing, 1)
        cumulative_uj = piece.at_uj(end_ns)
        energy_uj = cumulative_uj - self._cumulative_uj
        self._open(span).add(energy_uj, partial, timing)
        if self.sensor.root:
            turn.into.add(self.sensor.device, self._kind, energy_uj, partial.cells_uj, timing)
        self._cumulative_uj = cumulative_uj
        self._leave(end_ns)
        return partial.covered_ns

    def _shape_of(
        self, from_ns: int, to_ns: int, start_ns: int, end_ns: int, timing: Timing, blocks: int
    ) -> tuple[Piece, Partial]:
        """Return the piece from ``start_ns`` to ``end_ns`` of these blocks, and its shape."""
        ledger, (first, last) = self.ledger, self._edges(start_ns, end_ns)
        piece = Piece(
            start_ns,
            end_ns,
            ledger.times_ns[first : last + 1],
            ledger.cumulative_uj[first : last + 1],
            self._holes(start_ns, end_ns),
        )
        partial = self._shape.reduce(from_ns, to_ns, piece, timing, blocks)
        if isinstance(ledger, GaugeLedger):
            partial.low_mw, partial.high_mw = ledger.range_mw(first, last, start_ns, end_ns)
        return piece, partial

    def _edges(self, start_ns: int, end_ns: int) -> tuple[int, int]:
        """Return the last edge not after ``start_ns`` and the first not before ``end_ns``."""
        times_ns = self.ledger.times_ns
        return bisect_right(times_ns, start_ns) - 1, bisect_left(times_ns, end_ns)

    def _leave(self, end_ns: int) -> None:
        """Stand at ``end_ns``; edges before it are used up."""
        times_ns = self.ledger.times_ns
        last = bisect_left(times_ns, end_ns)
        self.ledger.forget(last if times_ns[last] == end_ns else last - 1)
        self._position_ns = end_ns

    def _learn(self, start_ns: int, end_ns: int) -> None:
        """Believe the spacing of edges where nobody has said how often the value is fresh."""
        timing = self.timing
        if timing.refresh_ns and timing.period_ns:
            return
        first, last = self._edges(start_ns, end_ns)
        if last - first >= _TELLING or not timing.resolution_ns:
            times_ns = self.ledger.times_ns
            spacing_ns = (times_ns[last] - times_ns[first]) // (last - first)
            if timing.refresh_ns:
                self.ledger.retime(replace(timing, period_ns=spacing_ns))
            else:
                self.ledger.retime(replace(timing, refresh_ns=spacing_ns))

    def _cross(self, ahead: Break, turn: Turn) -> None:
        """Go over a break to the first edge after it."""
        ledger, span = self.ledger, turn.span
        ledger.breaks.popleft()
        ledger.forget(bisect_left(ledger.times_ns, ahead.first_ns))
        if ahead.reason is None:
            self._open(span).leap(ahead.upper_uj, ahead.flags)
        else:
            self._leave_gap(ahead, ahead.reason, turn, self.timing)
        self._epoch = ahead.epoch
        self._position_ns, self._cumulative_uj = ahead.first_ns, ledger.cumulative_uj[0]
        if ahead.reason is not None:
            self._commit()

    def _holes(self, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        self._drop_holes(start_ns)
        return [(max(a, start_ns), min(b, end_ns)) for a, b in self.ledger.holes if a < end_ns]

    def _drop_holes(self, start_ns: int) -> None:
        holes = self.ledger.holes
        while holes and holes[0][1] <= start_ns:
            holes.popleft()


def _ledger(sensor: Sensor, unix_offset_ns: int) -> Ledger:
    counter = sensor.quantity is Quantity.ENERGY_UJ
    timing = Timing(counter, sensor.stamped, sensor.refresh_ns, sensor.averaging_ns)
    utmost_mw = _WRONG_BY * FLOOR_MW[sensor.domain]
    if not counter:
        return GaugeLedger(
            timing,
            max_power_mw=sensor.max_power_mw,
            unix_offset_ns=unix_offset_ns,
            utmost_mw=utmost_mw,
        )
    return CounterLedger(
        timing,
        max_power_mw=sensor.max_power_mw,
        unix_offset_ns=unix_offset_ns,
        utmost_mw=utmost_mw,
        modulus_uj=sensor.modulus_uj,
        resolution_uj=sensor.resolution_uj,
    )
