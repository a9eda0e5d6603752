"""Finds out, while a source is sampled, over what window its gauges are averaged.

The vendor's word counts until a measurement contradicts or confirms it. A
gauge is held against another sensor of its own device and domain that the same
source reads: an energy counter, else an instantaneous gauge. Where there is
none, nothing can be measured: a load that ramps looks like a mean that catches up.

Listening costs one reference a poll, and happens throughout the first minutes, until
every window is known; then for some seconds now and then. What was heard is
searched in pieces, one a turn (see ``boxcar``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence

from chipwatt.agent.boxcar import Series, Window, fit
from chipwatt.agent.sensing.contract import Quantity, Reading, Sensor
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.model import Statistic

_HEARD_NS = 13 * NS_PER_S
"""Longer than from one search to the next by the longest window that is tried."""
_MOST_POLLS = 512
_EVERY_NS = 10 * NS_PER_S
"""Between two searches, while something is unknown at the start."""
_START_NS = 300 * NS_PER_S
_RARELY_NS = 600 * NS_PER_S
"""Between two searches from then on."""

Polls = Sequence[Sequence[Reading]]


class AveragingMeter:
    """Measures the windows of one source's gauges."""

    __slots__ = ("_due_ns", "_found", "_locals", "_pairs", "_period_ns", "_sensors", "_start_ns",
                 "_work", "heard")  # fmt: skip

    def __init__(self, sensors: Sequence[Sensor], now_ns: int) -> None:
        """Begin with what the vendor documents of the sensors in use."""
        self.heard: deque[Sequence[Reading]] | None = None
        """Takes the readings of each poll; None while nobody listens."""
        self._sensors = tuple(sensors)
        self._found: list[Window | None] = [None] * len(self._sensors)
        beside = {slot: _beside(slot, sensors) for slot in range(len(sensors))}
        self._pairs = {slot: others for slot, others in beside.items() if others}
        self._locals: dict[int, int] = {}
        self._period_ns = 0
        self._start_ns = self._due_ns = now_ns
        self._work: Generator[None, None, bool] | None = None

    def opened(self, slots: Sequence[int]) -> None:
        """Forget what was heard: readings come at the places of ``slots`` now; -1 not in use."""
        self._locals = {slot: local for local, slot in enumerate(slots) if slot >= 0}
        self.heard = self._work = None

    def averaging_ns(self, slot: int) -> int:
        """Return the window to believe in; 0 none or not known."""
        found, documented_ns = self._found[slot], self._sensors[slot].averaging_ns
        if found is None:
            return documented_ns
        return found.averaging_ns or min(documented_ns, found.uncertainty_ns)

    def measured(self, slot: int) -> Window | None:
        """Return what was measured; None where nothing was seen yet."""
        return self._found[slot]

    def can_measure(self, slot: int) -> bool:
        """Whether there is something to hold a gauge against."""
        return slot in self._pairs

    def is_open(self) -> bool:
        """Whether something that could be measured is not known yet."""
        return any(self._found[slot] is None for slot in self._pairs)

    def step(self, now_ns: int, period_ns: int) -> bool:
        """Do the next piece of work, polls being ``period_ns`` apart; True where a window moved."""
        if not self._pairs:
            return False
        if self._work is not None:
            return self._go_on(self._work)
        if self.heard is None:
            if now_ns >= self._due_ns:
                self._listen(now_ns, period_ns)
        elif period_ns != self._period_ns:
            self._listen(now_ns, period_ns)
        elif now_ns >= self._due_ns:
            self.search_now()
            eager = self.is_open() and now_ns < self._start_ns + _START_NS
            self._due_ns = now_ns + (_EVERY_NS if eager else _RARELY_NS)
            if not eager:
                self.heard = None
        return False

    def search_now(self) -> None:
        """Search what was heard so far; ``step`` does the work."""
        self._work = self._search(tuple(self.heard or ()))

    def finish(self) -> bool:
        """Do all of the work at once, for those who have nothing else to do."""
        moved = False
        while self._work is not None:
            moved |= self._go_on(self._work)
        return moved

    def _listen(self, now_ns: int, period_ns: int) -> None:
        kept = max(1, min(_MOST_POLLS, _HEARD_NS // max(1, period_ns)))
        self.heard = deque(maxlen=kept)
        self._period_ns = period_ns
        self._due_ns = now_ns + _EVERY_NS

    def _go_on(self, work: Generator[None, None, bool]) -> bool:
        try:
            next(work)
        except StopIteration as end:
            self._work = None
            return bool(end.value)
        return False

    def _search(self, polls: Polls) -> Generator[None, None, bool]:
        moved = False
        for slot, beside in self._pairs.items():
            if self._found[slot] is not None and self.is_open():
                continue
            for other in beside:
                gauge, reference = self._series(polls, slot, other)
                yield
                counter = self._sensors[other].quantity is Quantity.ENERGY_UJ
                found = yield from fit(gauge, reference, counter=counter)
                if found is not None:
                    before_ns = self.averaging_ns(slot)
                    self._found[slot] = found
                    moved |= self.averaging_ns(slot) != before_ns
                    break
        return moved

    def _series(self, polls: Polls, slot: int, other: int) -> tuple[Series, Series]:
        """Return two sensors' readings, of the polls that gave every sensor's."""
        places = self._locals.get(slot, -1), self._locals.get(other, -1)
        most = max((len(readings) for readings in polls), default=0)
        rows = [
            (readings[places[0]], readings[places[1]])
            for readings in polls
            if min(places) >= 0 and len(readings) == most > max(places)
        ]
        rows = [(a, b) for a, b in rows if (a[0], b[0]) == places]
        return [(a[1], a[2]) for a, _ in rows], [(b[1], b[2]) for _, b in rows]


def _beside(slot: int, sensors: Sequence[Sensor]) -> list[int]:
    """Return the sensors that a gauge can be held against, the best first."""
    own = sensors[slot]
    others = [
        (other.statistic, n)
        for n, other in enumerate(sensors)
        if (other.device, other.domain) == (own.device, own.domain)
        and other.statistic < own.statistic
    ]
    return [n for _, n in sorted(others)] if own.statistic is not Statistic.ENERGY else []
