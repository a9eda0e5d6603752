"""One sensor on its way from edges to windows: where it stands, what it has open.

Windows and gaps tile a sensor's time: a window is cut where its line of edges
is cut, and the gap covers the rest. A window that would have to wait for a
silent sensor is cut at the last edge, and the next one begins there, so that
energy stays beside the time in which it was spent.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from chipwatt.agent.counter_ledger import CounterLedger
from chipwatt.agent.gauge_ledger import GaugeLedger
from chipwatt.agent.ledger import Break, Ledger
from chipwatt.agent.profiler.block import Shape
from chipwatt.agent.profiler.grid import Span
from chipwatt.agent.profiler.host_second import Bin, kind_of
from chipwatt.agent.profiler.partial import Piece
from chipwatt.agent.profiler.window import Counts, Window, counts_between
from chipwatt.agent.sensing.contract import Quantity, Sensor
from chipwatt.agent.timing import Timing
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import Domain, Flag, Statistic
from chipwatt.core.records import DeviceWindow, Gap, Throttle

STILL_NS: Final = 5 * NS_PER_S
"""A counter that stands still for longer while a sibling moves is SUSPECT; one that has never
counted anything is only idle."""

_TELLING: Final = 8
"""Edges in one piece that tell their spacing."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What survives a restart of the sensing process inside one boot."""

    device: DeviceId
    domain: Domain
    statistic: Statistic
    epoch: int
    cumulative_uj: int
    end_mono_ns: int


@dataclass(frozen=True, slots=True)
class Closed:
    """A window that only needs to be written out, which is a chore of its own."""

    sensor: Sensor
    window: Window
    end_ns: int
    cumulative_uj: int
    timing: Timing
    counts: Counts

    def build(self) -> DeviceWindow:
        return self.window.build(
            self.sensor, self.end_ns, self.cumulative_uj, self.timing, self.counts
        )


class Track:
    """State of one sensor."""

    def __init__(self, sensor: Sensor, unix_offset_ns: int, memory: Memory | None) -> None:
        self.sensor = sensor
        self.ledger = _ledger(sensor, unix_offset_ns)
        self.siblings: Sequence[Ledger] = ()
        """Other counters of the same interface."""
        self.rate_reduced = False
        self.expected = 0
        self.throttle = Throttle()
        self.committed = memory
        self.closed: deque[Closed] = deque()
        self.gaps: list[Gap] = []
        self._kind = kind_of(sensor)
        self._shape = Shape()
        self._window: Window | None = None
        self._position_ns = -1
        self._cumulative_uj = 0
        self._epoch = 0
        self._fresh = memory is None
        self._counted = Counts()
        if memory is not None:
            self.ledger.resume(memory.epoch, memory.cumulative_uj, memory.end_mono_ns)

    @property
    def timing(self) -> Timing:
        return self.ledger.timing

    def counts(self) -> Counts:
        """Return everything counted so far."""
        ledger = self.ledger
        return Counts(self.expected, ledger.got, ledger.repeated, ledger.dropped, self.throttle)

    def baseline(self, throttle: Throttle) -> None:
        """Count throttled time from ``throttle`` on: the first report tells the past, too."""
        self._counted = replace(self._counted, throttle=throttle)

    def end(self) -> None:
        """Close what is open where it stands, and remember even a single edge."""
        self._start()
        self._close(self.counts())
        if self._position_ns >= 0:
            self._commit()

    def ready(self, end_ns: int, mono_ns: int) -> bool:
        """Whether the block that ends at ``end_ns`` can be closed: all of it seen, or no hope."""
        ledger = self.ledger
        if ledger.away or ledger.times_ns[-1] >= end_ns:
            return True
        if mono_ns < end_ns + ledger.timing.silence_ns:
            return False
        ledger.hold()
        return True

    def advance(self, span: Span, counts: Counts, into: Bin) -> None:
        """Reduce what is known up to the end of ``span`` and close what ends there."""
        ledger = self.ledger
        covered_ns = 0
        if ledger.times_ns:
            self._start()
            while True:
                ahead = ledger.breaks[0] if ledger.breaks else None
                limit_ns = ahead.last_ns if ahead else ledger.times_ns[-1]
                end_ns = min(span.end_ns, limit_ns)
                if end_ns > self._position_ns:
                    covered_ns += self._reduce(span, end_ns, into)
                if ahead is None or ahead.last_ns >= span.end_ns:
                    break
                self._cross(ahead, span, counts)
        if self.sensor.root:
            into.hear(covered_ns, self.sensor.flags | self._rate_flag)
        if self._window is not None:
            self._mark(span)
            if span.ends_window and self._position_ns <= span.end_ns:
                self._close(counts)

    def _start(self) -> None:
        """Stand on the first edge, once there is one."""
        ledger = self.ledger
        if self._position_ns < 0 and ledger.times_ns:
            self._position_ns, self._cumulative_uj = ledger.times_ns[0], ledger.cumulative_uj[0]
            self._epoch = ledger.first_epoch

    @property
    def _rate_flag(self) -> int:
        return Flag.RATE_REDUCED if self.rate_reduced else 0

    def _reduce(self, span: Span, end_ns: int, into: Bin) -> int:
        """Reduce from where we stand to ``end_ns``; return the covered time."""
        ledger, start_ns = self.ledger, self._position_ns
        times_ns = ledger.times_ns
        first = bisect_right(times_ns, start_ns) - 1
        last = bisect_left(times_ns, end_ns)
        self._learn(first, last)
        piece = Piece(
            start_ns,
            end_ns,
            times_ns[first : last + 1],
            ledger.cumulative_uj[first : last + 1],
            self._holes(start_ns, end_ns),
        )
        partial = self._shape.reduce(span.start_ns, span.end_ns, piece, self.timing)
        if isinstance(ledger, GaugeLedger):
            partial.low_mw, partial.high_mw = ledger.range_mw(first, last, start_ns, end_ns)
        cumulative_uj = piece.end_uj()
        energy_uj = cumulative_uj - self._cumulative_uj
        self._open(span).add(energy_uj, partial, self.timing)
        if self.sensor.root:
            into.add(self._kind, energy_uj, partial, self.timing)
        self._position_ns, self._cumulative_uj = end_ns, cumulative_uj
        ledger.forget(last if times_ns[last] == end_ns else last - 1)
        return partial.covered_ns

    def _learn(self, first: int, last: int) -> None:
        """Believe the spacing of edges where nobody has said how often the value is fresh."""
        timing = self.timing
        if timing.refresh_ns and timing.period_ns:
            return
        if last - first >= _TELLING or not timing.resolution_ns:
            times_ns = self.ledger.times_ns
            spacing_ns = (times_ns[last] - times_ns[first]) // (last - first)
            if timing.refresh_ns:
                self.ledger.retime(replace(timing, period_ns=spacing_ns))
            else:
                self.ledger.retime(replace(timing, refresh_ns=spacing_ns))

    def _cross(self, ahead: Break, span: Span, counts: Counts) -> None:
        """Go over a break to the first edge after it."""
        ledger = self.ledger
        ledger.breaks.popleft()
        ledger.forget(bisect_left(ledger.times_ns, ahead.first_ns))
        if ahead.reason is None:
            self._open(span).leap(ahead.upper_uj, ahead.flags)
        else:
            if self._window is not None:
                self._mark(span)
                self._close(counts)
            self.gaps.append(
                Gap(
                    device=self.sensor.device,
                    domain=self.sensor.domain,
                    statistic=self.sensor.statistic,
                    start_unix_ns=span.unix_ns(ahead.last_ns),
                    start_mono_ns=ahead.last_ns,
                    duration_ns=ahead.first_ns - ahead.last_ns,
                    lower_uj=ahead.lower_uj,
                    upper_uj=ahead.upper_uj,
                    reason=ahead.reason,
                )
            )
            self._fresh = self._fresh or ahead.epoch != self._epoch
        self._epoch = ahead.epoch
        self._position_ns, self._cumulative_uj = ahead.first_ns, ledger.cumulative_uj[0]
        if ahead.reason is not None:
            self._commit()

    def _open(self, span: Span) -> Window:
        if self._window is None:
            flags = Flag.EPOCH_START if self._fresh else 0
            start_ns = self._position_ns
            self._window = Window(start_ns, span.unix_ns(start_ns), self._epoch, flags)
            self._fresh = False
        return self._window

    def _mark(self, span: Span) -> None:
        ledger = self.ledger
        if self._window is None:
            return
        self._window.flags |= self._rate_flag
        if span.stepped:
            self._window.flags |= Flag.CLOCK_STEPPED
        still_ns = ledger.changed_ns + STILL_NS
        still = self._cumulative_uj > 0 and ledger.seen_ns > still_ns
        if still and any(sibling.changed_ns > still_ns for sibling in self.siblings):
            self._window.flags |= Flag.SUSPECT

    def _close(self, counts: Counts) -> None:
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
                self.timing,
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

    def _holes(self, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        holes = self.ledger.holes
        while holes and holes[0][1] <= start_ns:
            holes.popleft()
        return [(max(a, start_ns), min(b, end_ns)) for a, b in holes if a < end_ns]


def _ledger(sensor: Sensor, unix_offset_ns: int) -> Ledger:
    counter = sensor.quantity is Quantity.ENERGY_UJ
    timing = Timing(counter, sensor.stamped, sensor.refresh_ns, sensor.averaging_ns)
    if not counter:
        return GaugeLedger(timing, max_power_mw=sensor.max_power_mw, unix_offset_ns=unix_offset_ns)
    return CounterLedger(
        timing,
        max_power_mw=sensor.max_power_mw,
        unix_offset_ns=unix_offset_ns,
        modulus_uj=sensor.modulus_uj,
        resolution_uj=sensor.resolution_uj,
    )
