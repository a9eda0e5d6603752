"""A chip whose power swings, with an energy counter and two gauges, on any clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chipwatt.agent.sensing.contract import Quantity, Reading, Sensor
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from fakes.file_sensors import FileSource


class Gauged(FileSource):
    """A counter, and two gauges that follow it: over the last refresh and over the last second."""

    def open(self) -> Sequence[Sensor]:
        (counter,) = super().open()
        self._seen: list[tuple[int, int]] = []
        gauge = replace(counter, quantity=Quantity.POWER_MW)
        return [counter, gauge, replace(gauge, averaging_ns=2 * NS_PER_S)]

    def poll(self) -> Sequence[Reading]:
        at_ns = self._clock.mono_ns()
        if not self._seen or at_ns - self._seen[-1][0] >= 20 * NS_PER_MS:
            wave = 1 + (at_ns // (1500 * NS_PER_MS)) % 2
            before_uj = self._seen[-1][1] if self._seen else 0
            self._seen.append((at_ns, before_uj + wave * 200 * 20_000))
        now = self._seen[-1]
        values = [now[1]]
        for refreshes in (1, 50):
            then = self._seen[max(0, len(self._seen) - 1 - refreshes)]
            values.append((now[1] - then[1]) * 1_000_000 // max(1, now[0] - then[0]))
        return [Reading(n, at_ns, value) for n, value in enumerate(values)]
