"""One thread for every call into one vendor library, so that a hung driver holds up nobody else.

A call cannot be interrupted. The thread that made it waits as long as the
driver likes; everyone else sees ``stalled`` and goes on, and no further call is
made until that one returns.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from chipwatt.agent.deadlines import Schedule
from chipwatt.agent.realtime import shorten_slice
from chipwatt.agent.sensing.contract import Reading, Sensor, Source, TransientReadError
from chipwatt.core.clock import NS_PER_S, Clock
from chipwatt.core.records import Throttle

THROTTLE_EVERY_NS = NS_PER_S
_MAX_HELD = 4096


class Outcome(NamedTuple):
    """What one poll of a source came to."""

    due: int
    """Polls that were due since the one before, this one included."""
    began_ns: int
    ended_ns: int
    readings: Sequence[Reading]
    throttles: Sequence[tuple[int, Throttle]]
    error: Exception | None


_outcome: Callable[[tuple[object, ...]], Outcome] = partial(tuple.__new__, Outcome)
"""Makes an outcome in half the time that its own constructor takes."""


class Poller:
    """Polls one source, and asks for its throttle state about once a second."""

    def __init__(self, source: Source, clock: Clock) -> None:
        self.source = source
        self._mono_ns = clock.mono_ns
        self._throttle_ns = 0

    def poll(self, due: int) -> Outcome:
        """Poll once; whatever the source raises becomes the outcome's ``error``."""
        began_ns = self._mono_ns()
        throttles: Sequence[tuple[int, Throttle]] = ()
        try:
            readings = self.source.poll()
            if began_ns >= self._throttle_ns:
                self._throttle_ns = began_ns + THROTTLE_EVERY_NS
                throttles = self._throttle()
        except Exception as error:  # noqa: BLE001 - a source may come from anywhere; it alone stops
            return Outcome(due, began_ns, self._mono_ns(), (), (), error)
        return _outcome((due, began_ns, self._mono_ns(), readings, throttles, None))

    def _throttle(self) -> Sequence[tuple[int, Throttle]]:
        try:
            return self.source.throttle()
        except TransientReadError:
            return ()  # the power readings of this poll are good all the same


class LibraryWorker:
    """Opens, polls and closes one source in a thread of its own."""

    def __init__(self, source: Source, clock: Clock) -> None:
        """Start to open the source; ``opened`` tells the result."""
        self.source = source
        self._poller = Poller(source, clock)
        self._clock = clock
        self._ready = threading.Event()
        self._go = threading.Event()
        self._stop = threading.Event()
        self._sensors: Sequence[Sensor] = ()
        self._open_error: Exception | None = None
        self._schedule = Schedule(0, NS_PER_S)
        self._wanted_period_ns = 0
        self._outcomes: deque[Outcome] = deque(maxlen=_MAX_HELD)
        self._call_began_ns = 0
        self._library_ns = 0
        self._thread = threading.Thread(target=self._run, name=f"lib-{source.name}", daemon=True)
        self._thread.start()

    def opened(self, timeout_s: float) -> Sequence[Sensor] | None:
        """Return the sensors, or None where the library has not answered yet.

        Raises what ``open`` raised.
        """
        if not self._ready.wait(timeout_s):
            return None
        if self._open_error is not None:
            raise self._open_error
        return self._sensors

    def start(self, origin_ns: int, period_ns: int) -> None:
        """Begin to poll at ``origin_ns`` and every ``period_ns`` from there."""
        self._schedule = Schedule(origin_ns, period_ns)
        self._wanted_period_ns = period_ns
        self._go.set()

    def change(self, period_ns: int) -> None:
        """Poll at another period after the call that may be under way."""
        self._wanted_period_ns = period_ns

    def drain(self) -> list[Outcome]:
        """Return what came in since the last time, oldest first."""
        held = self._outcomes
        return [held.popleft() for _ in range(len(held))]

    def stalled(self, limit_ns: int) -> bool:
        """Whether the call under way has taken longer than ``limit_ns``."""
        began_ns = self._call_began_ns
        return bool(began_ns) and self._clock.mono_ns() - began_ns > limit_ns

    def library_ns(self) -> int:
        """Wall time spent inside the library so far, the call under way included."""
        began_ns = self._call_began_ns
        return self._library_ns + (self._clock.mono_ns() - began_ns if began_ns else 0)

    def close(self, timeout_s: float) -> bool:
        """Stop polling and close the source; False where a call does not come back in time.

        The thread is a daemon: a driver that never answers cannot keep the
        process alive.
        """
        self._stop.set()
        self._go.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        # While it holds the interpreter's lock the sampling thread waits, so it must not wait long.
        shorten_slice()
        try:
            self._sensors = self.source.open()
        except Exception as error:  # noqa: BLE001 - handed to whoever asks ``opened``
            self._open_error = error
        self._ready.set()
        self._go.wait()
        while self._open_error is None and not self._stop.is_set():
            schedule = self._schedule
            now_ns = self._clock.mono_ns()
            if schedule.period_ns != self._wanted_period_ns:
                schedule.change(self._wanted_period_ns, now_ns)
            if schedule.next_ns > now_ns:
                self._stop.wait((schedule.next_ns - now_ns) / NS_PER_S)
                continue
            outcome = self._call(schedule.advance(now_ns))
            if outcome.error is not None and not isinstance(outcome.error, TransientReadError):
                break
        with contextlib.suppress(Exception):  # it stops anyway, and others must not hear of it
            self.source.close()

    def _call(self, due: int) -> Outcome:
        self._call_began_ns = self._clock.mono_ns()
        outcome = self._poller.poll(due)
        self._library_ns += outcome.ended_ns - outcome.began_ns
        self._call_began_ns = 0
        self._outcomes.append(outcome)
        return outcome
