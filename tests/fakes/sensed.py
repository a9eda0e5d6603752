"""A real source polled into a real reducer on virtual time, and what came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.sensing.contract import Sensor, Source, TransientReadError
from chipwatt.core.clock import NS_PER_MS, NS_PER_S, VirtualClock
from chipwatt.core.identity import DeviceId
from chipwatt.core.records import DeviceWindow, Records
from fakes.books import Books, books

START_UNIX_NS = 1_750_000_000 * NS_PER_S
PERIOD_NS = 10 * NS_PER_MS


@dataclass
class Sensed:
    """What a host with this source would have sent."""

    sensors: Sequence[Sensor]
    batches: list[Records]
    failed_polls: int
    lines: dict[DeviceId, Books] = field(default_factory=dict)
    """Audited: windows and gaps tile time, every epoch's sums close."""

    def only(self) -> Books:
        """Return the books of the only sensor."""
        (line,) = self.lines.values()
        return line

    def dropped(self, device: DeviceId | None = None) -> int:
        """Return how many readings were thrown away, as the windows say."""
        return sum(w.provenance.dropped for w in self._windows(device))

    def _windows(self, device: DeviceId | None) -> list[DeviceWindow]:
        lines = self.lines.values() if device is None else [self.lines[device]]
        return [window for line in lines for window in line.windows]


def sense(
    source: Source,
    until_ns: int,
    at: Callable[[int], None],
    events: Mapping[int, Callable[[], None]] | None = None,
) -> Sensed:
    """Open, poll every 10 ms and close ``source``.

    ``at(t)`` moves the hardware to time t before each poll; ``events`` happen once,
    at the first poll that is not before their time, after ``at``.
    """
    clock = VirtualClock(START_UNIX_NS)
    waiting = dict(events or {})
    at(0)
    sensors = list(source.open())
    reducer = Reducer(sensors, mono_ns=0, unix_ns=START_UNIX_NS)
    failed = 0
    for now_ns in range(0, until_ns + 1, PERIOD_NS):
        clock.sleep_until(now_ns)
        at(now_ns)
        for due_ns in [due_ns for due_ns in waiting if due_ns <= now_ns]:
            waiting.pop(due_ns)()
        for position in range(len(sensors)):
            reducer.due(position)
        try:
            for reading in source.poll():
                reducer.observe(reading.sensor, now_ns, reading.value)
        except TransientReadError:
            failed += 1
        while now_ns % (100 * NS_PER_MS) == 0 and reducer.step(now_ns):
            pass
    source.close()
    batches = [*reducer.take(), *reducer.finish(until_ns)]
    lines = dict(sorted(books(batches).items()))
    return Sensed(sensors, batches, failed, lines)
