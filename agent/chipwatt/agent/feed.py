"""One open source while it is sampled: its deadlines, its meters and where its readings go.

Readings go to the reducer, a transient error is counted, and anything else breaks
the source: then ``recovery`` takes over.

A process that sleeps between two polls finds nothing of its code in the cache when it wakes
up, so a poll does little: what it gave is held back and taken in together with other polls'.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Final, Protocol, cast

from chipwatt.agent.admission import admit_throttle
from chipwatt.agent.averaging import AveragingMeter
from chipwatt.agent.deadlines import LATE_NS, Schedule
from chipwatt.agent.library_worker import LibraryWorker, Outcome, Poller
from chipwatt.agent.opening import Opened
from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.recovery import REOPEN_NS, Reopening, Silence
from chipwatt.agent.refresh import RefreshMeter, poll_period_ns
from chipwatt.agent.sensing.contract import Sensor, Source, TransientReadError
from chipwatt.core.clock import NS_PER_MS, NS_PER_S, Clock

MEASURE_NS: Final = NS_PER_S
"""Length of the fast polling with which a source starts, to see its refresh."""
_MEASURE_PERIOD_NS = NS_PER_MS
_MEASURE_LIBRARY_PERIOD_NS = 20 * NS_PER_MS
_UNKNOWN_LIBRARY_PERIOD_NS = 50 * NS_PER_MS
_HELD_READINGS = 64
"""Taking these in lasts some 60 µs, little enough to happen between two deadlines."""
_MAX_WIDENED_NS = NS_PER_S
"""The cost budget widens no period beyond this; slower sensors keep their own."""


class Feed:
    """A source and everything that sampling knows about it."""

    def __init__(
        self, opened: Opened, first_position: int, reducer: Reducer, clock: Clock, fastest_ns: int
    ) -> None:
        """Begin at once; the sensors in use are the reducer's from ``first_position`` on."""
        now_ns = clock.mono_ns()
        self.name = opened.name
        self.interface = opened.source.interface
        self.library = opened.worker is not None
        self.sensors: tuple[Sensor, ...] = tuple(opened.sensors[local] for local in opened.kept)
        self.positions = tuple(range(first_position, first_position + len(self.sensors)))
        self.meters = [RefreshMeter(s.refresh_ns, stamped=s.stamped) for s in self.sensors]
        self.averaging = AveragingMeter(self.sensors, now_ns)
        self.schedule = Schedule(
            now_ns, _MEASURE_LIBRARY_PERIOD_NS if self.library else _MEASURE_PERIOD_NS
        )
        self.measured_at_ns = now_ns + MEASURE_NS
        """End of the first, fast measurement."""
        self.rate_reduced = False
        self.is_open = True
        self.deadlines = self.late_deadlines = self.breaks = 0
        self._raised = self._transient_before = 0
        self._polls = self._poll_ns = self._due = 0
        self._held: list[Outcome] = []
        self._library_before_ns = 0
        self._reducer = reducer
        self._clock = clock
        self._fastest_ns = fastest_ns
        names = [f"{s.device} {s.domain.name.lower()} ({self.name})" for s in self.sensors]
        self._silence = Silence(reducer, self.positions, self.meters, now_ns, names)
        self._reopening = Reopening(opened.name, opened.make, clock, opened.note)
        self._worker: LibraryWorker | None = None
        self._begin(opened.source, opened.worker, opened.sensors, now_ns)

    def poll(self, now_ns: int) -> None:
        """Poll an inline source whose deadline has come."""
        late_ns = now_ns - self.schedule.next_ns
        due = self.schedule.advance(now_ns)
        self.deadlines += due
        self.late_deadlines += due - 1 + (late_ns > LATE_NS)
        outcome = self._poller.poll(due)
        self._held.append(outcome)
        if len(self._held) >= self._most_held or outcome.error is not None:
            self.drain()

    def drain(self) -> None:
        """Take in what was read since the last time, here or by a library's thread."""
        if self._worker is not None:
            self._held += self._worker.drain()
        held, self._held = self._held, []
        for outcome in held:
            if self.is_open:
                self._absorb(outcome)

    def tell_due(self) -> None:
        """Take in what was read and say how many polls were due, as the reducer has to know."""
        self.drain()
        due, self._due = self._due, 0
        if due:
            for position in self.positions:
                self._reducer.due(position, due)

    def look_after(self, now_ns: int, call_timeout_ns: int) -> None:
        """Notice silence, and reopen a broken source; about once a second."""
        if not self.is_open:
            found = self._reopening.attempt(now_ns)
            if found is not None:
                self._begin(*found, now_ns)
            return
        stalled = self._worker is not None and self._worker.stalled(call_timeout_ns)
        self._silence.check(now_ns, self.schedule.period_ns, stalled=stalled)
        if now_ns - self._begun_ns > REOPEN_NS:
            self._reopening.works()

    def assess(self) -> bool:
        """Renew the estimates of refresh; True where one moved."""
        moved = [meter.assess(self.schedule.period_ns) for meter in self.meters]
        return any(moved)

    def refresh_known(self) -> bool:
        """Whether every sensor's refresh is known, measured or documented."""
        return all(meter.refresh_ns for meter in self.meters)

    def set_period(self, factor: int, now_ns: int) -> None:
        """Poll at half the shortest refresh, times the cost budget's ``factor``."""
        refresh_ns = min(meter.refresh_ns for meter in self.meters)
        base_ns = poll_period_ns(refresh_ns, self._fastest_ns)
        if self.library and not refresh_ns:
            base_ns = max(base_ns, _UNKNOWN_LIBRARY_PERIOD_NS)
        period_ns = max(base_ns, min(base_ns * factor, _MAX_WIDENED_NS))
        self.rate_reduced = period_ns > base_ns
        if period_ns != self.schedule.period_ns:
            self.schedule.change(period_ns, now_ns)
            if self._worker is not None:
                self._worker.change(period_ns)
            for meter in self.meters:
                meter.restart()
        self._tell_measured()

    def look_closer(self, now_ns: int) -> bool:
        """Measure averaging a little further; True where a window moved."""
        moved = self.averaging.step(now_ns, self.schedule.period_ns)
        if moved:
            self._tell_measured()
        return moved

    def call_cost_ns(self) -> int:
        """Mean wall time of a poll: one sensor's share of it."""
        return self._poll_ns // (max(1, self._polls) * len(self._slots))

    @property
    def transient_errors(self) -> int:
        """Reads that failed and may succeed the next time.

        A source that reads sensors one by one gives those that it can, and counts
        the others in an attribute ``transient_errors`` of its own.
        """
        counted = getattr(self._poller.source, "transient_errors", 0) if self.is_open else 0
        return self._transient_before + max(self._raised, counted)

    def library_ns(self) -> int:
        """Wall time inside the vendor's library since the start; 0 where there is none."""
        running_ns = self._worker.library_ns() if self._worker is not None else 0
        return self._library_before_ns + running_ns

    def close(self, timeout_s: float = 1.0) -> None:
        """Stop, take the last readings in and give the source back."""
        if self._worker is not None:
            self._worker.close(timeout_s)
        elif self.is_open:
            self._close_source()
        self.tell_due()
        self._transient_before, self._raised = self.transient_errors, 0
        self.is_open = False

    def _begin(
        self,
        source: Source,
        worker: LibraryWorker | None,
        sensors: Sequence[Sensor],
        now_ns: int,
    ) -> None:
        places = {(s.device, s.domain, s.statistic): n for n, s in enumerate(self.sensors)}
        self._slots = [places.pop((s.device, s.domain, s.statistic), -1) for s in sensors]
        self._takers = [self._taker(slot) for slot in self._slots]
        self._most_held = max(1, _HELD_READINGS // max(1, len(sensors)))
        self.averaging.opened(self._slots)
        self._poller = Poller(source, self._clock)
        self._worker = worker
        self.is_open = True
        self._begun_ns = now_ns
        self._silence.back(now_ns)
        self.schedule.change(self.schedule.period_ns, now_ns)
        if worker is not None:
            worker.start(self.schedule.next_ns, self.schedule.period_ns)

    def _tell_measured(self) -> None:
        for slot, (position, meter) in enumerate(zip(self.positions, self.meters, strict=True)):
            self._reducer.measured(
                position,
                refresh_ns=meter.refresh_ns,
                averaging_ns=self.averaging.averaging_ns(slot),
                period_ns=self.schedule.period_ns,
                rate_reduced=self.rate_reduced,
            )

    def _absorb(self, outcome: Outcome) -> None:
        due, began_ns, ended_ns, _, _, error = outcome
        self._polls += 1
        self._poll_ns += ended_ns - began_ns
        self._due += due
        if error is not None:
            self._failed(error, ended_ns)
            return
        try:
            self._take_in(outcome)
        except Exception as reason:  # noqa: BLE001 - what it gave is no reading: it alone is out
            if self._worker is not None:
                self._worker.close(0.0)
            self._failed(reason, ended_ns)

    def _take_in(self, outcome: Outcome) -> None:
        takers, heard, readings = self._takers, self.averaging.heard, outcome.readings
        if heard is not None:
            heard.append(readings)
        for local, mono_ns, value in readings:
            for take in takers[local]:
                take(mono_ns, value)
        for local, throttle in outcome.throttles:
            slot = self._slots[local]
            if slot >= 0:
                self._reducer.throttled(self.positions[slot], admit_throttle(throttle))

    def _taker(self, slot: int) -> tuple[Callable[[int, int], None], ...]:
        """Return what takes a reading of a sensor; nothing where it is not in use."""
        if slot < 0:
            return ()
        return self._reducer.observer(self.positions[slot]), self.meters[slot].see

    def _failed(self, error: Exception, now_ns: int) -> None:
        if isinstance(error, TransientReadError):
            self._raised += 1
            return
        self._transient_before = self.transient_errors
        self._raised = 0
        self._silence.all_lost(now_ns, error)
        self._library_before_ns = self.library_ns()
        if self._worker is None:
            self._close_source()
        self._worker = None  # its thread closes the source by itself
        self.is_open = False
        self.breaks += 1
        self._reopening.broke(now_ns, error)

    def _close_source(self) -> None:
        with contextlib.suppress(Exception):  # it is given up in any case
            self._poller.source.close()


class Trace(Source, Protocol):
    """A source that plays a recorded trace and brings the clock that it plays on."""

    @property
    def clock(self) -> Clock:
        """The clock that its times are of."""
        ...

    @property
    def exhausted(self) -> bool:
        """Whether every row was read."""
        ...

    def next_due_ns(self) -> int | None:
        """Return the time of the next row on ``clock``; None past the last."""
        ...


class ReplayFeed(Feed):
    """A recorded trace: it says itself when the next row is due, and ends."""

    def __init__(self, opened: Opened, first_position: int, reducer: Reducer, clock: Clock) -> None:
        super().__init__(opened, first_position, reducer, clock, NS_PER_MS)
        self._trace = cast("Trace", opened.source)
        self._aim()

    @property
    def exhausted(self) -> bool:
        """Whether the trace has come to its end."""
        return self._trace.exhausted

    def poll(self, now_ns: int) -> None:
        """Read the rows that are due."""
        self.deadlines += 1
        self.late_deadlines += now_ns - self.schedule.next_ns > LATE_NS
        self._absorb(self._poller.poll(1))
        self._aim()

    def _aim(self) -> None:
        next_ns = self._trace.next_due_ns()
        if next_ns is not None:
            self.schedule.next_ns = next_ns
