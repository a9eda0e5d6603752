"""Finds sensors that are stuck: they go on answering, but what they say has come loose from power.

A *counter* is stuck that has stood still for more than five seconds of answers
while another counter moved. It is frozen from its last change on: what was drawn since is
unknown, not nothing (``CounterLedger.freeze``); only of an integrated GPU's part of
a package, which does rest at nothing, it is merely suspect. So as long as one may be
judged so, nothing is told of it. Which other one bears witness, and of what, depends:

- Counters of one interface share a driver and a kind of chip: one that stands
  still beside one that moves is stuck, if it has ever counted anything.
- A root counter (a package, a board: something is always drawn there) is judged by
  the root counters of every interface as well, but only if it has moved before
  our eyes: a device that is switched off has a counter that stands still, too.
- A model bears no witness: it moves whatever the hardware does.

A *gauge* at a constant value is nothing unusual, a chip at rest shows it for
hours. It is suspect only where its own domain has a counter that contradicts it:
one exact value for over a minute, while the counter's mean power over the same
time is off by more than a quarter, and by more than 5 W.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from chipwatt.agent.counter_ledger import CounterLedger
from chipwatt.agent.gauge_ledger import GaugeLedger
from chipwatt.agent.ledger import NS_MW_PER_UJ, Ledger
from chipwatt.agent.sensing.contract import Sensor
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.model import Domain, Flag

STILL_NS: Final = 5 * NS_PER_S
_DOUBTED_NS: Final = NS_PER_S
FROZEN_NS: Final = 60 * NS_PER_S
_APART_MW: Final = 5_000


class Stillness:
    """Watches all sensors of a host; ``judge`` is cheap enough for every second."""

    def __init__(self, sensors: Sequence[Sensor], ledgers: Sequence[Ledger]) -> None:
        self._count = len(sensors)
        pairs = list(zip(sensors, ledgers, strict=True))
        self._counters = [
            _Counter(n, sensor, ledger)
            for n, (sensor, ledger) in enumerate(pairs)
            if isinstance(ledger, CounterLedger)
        ]
        for each in self._counters:
            each.find_witnesses(self._counters)
        own = {(c.sensor.device, c.sensor.domain, c.sensor.interface): c for c in self._counters}
        self._gauges = [
            _Gauge(n, ledger, counter.ledger)
            for n, (sensor, ledger) in enumerate(pairs)
            if isinstance(ledger, GaugeLedger)
            and not sensor.stamped
            and (counter := own.get((sensor.device, sensor.domain, sensor.interface)))
        ]

    def doubts(self) -> Iterator[tuple[int, Callable[[], bool]]]:
        """Yield the position of each counter that may freeze, and what tells whether it may now."""
        for each in self._counters:
            if each.may_freeze:
                yield each.position, each.doubted

    def judge(self, now_ns: int) -> frozenset[int]:
        """Return the positions of the sensors that are stuck now; freezes counters among them."""
        counters = [each for each in self._counters if each.stuck() or each.left_off(now_ns)]
        for each in counters:
            if each.may_freeze:
                each.ledger.freeze()
        stuck = [each.position for each in counters]
        stuck += [each.position for each in self._gauges if each.stuck()]
        return frozenset(stuck)


class _Counter:
    def __init__(self, position: int, sensor: Sensor, ledger: CounterLedger) -> None:
        self.position = position
        self.sensor = sensor
        self.ledger = ledger
        self._siblings: list[CounterLedger] = []
        self._others: list[CounterLedger] = []
        self.may_freeze = sensor.domain is not Domain.UNCORE

    def find_witnesses(self, all_counters: Sequence[_Counter]) -> None:
        for other in all_counters:
            if other is self:
                continue
            if other.sensor.interface is self.sensor.interface:
                self._siblings.append(other.ledger)
            elif other.sensor.root and self.sensor.root and not _modelled(other.sensor):
                self._others.append(other.ledger)

    def stuck(self) -> bool:
        """Whether it stands still while others move."""
        return self._still(STILL_NS)

    def doubted(self) -> bool:
        """Whether it is, or may be before long: until every witness has had its say.

        One that is slower than ``STILL_NS`` is not waited for: the host's seconds wait meanwhile.
        """
        if not self._still(_DOUBTED_NS):
            return False
        refresh_ns = max(w.timing.resolution_ns for w in (*self._siblings, *self._others))
        spoken_ns = self.ledger.changed_ns + STILL_NS + _DOUBTED_NS + min(refresh_ns, STILL_NS)
        return self.ledger.seen_ns <= spoken_ns or self.stuck()

    def left_off(self, now_ns: int) -> bool:
        """Whether it is in doubt and says nothing any more that could be believed."""
        ledger = self.ledger
        patience_ns = STILL_NS + ledger.timing.silence_ns
        return now_ns - ledger.seen_ns > patience_ns and self.may_freeze and self.doubted()

    def _still(self, least_ns: int) -> bool:
        ledger = self.ledger
        still_ns = ledger.changed_ns + least_ns
        if ledger.seen_ns <= still_ns or ledger.away:
            return False
        if ledger.total_uj > 0 and any(w.changed_ns > still_ns for w in self._siblings):
            return True
        return ledger.moved and any(w.changed_ns > still_ns for w in self._others)


class _Gauge:
    """A gauge beside the counter of its own domain, from the gauge's newest change on."""

    def __init__(self, position: int, gauge: GaugeLedger, counter: CounterLedger) -> None:
        self.position = position
        self._gauge = gauge
        self._counter = counter
        self._since = (-1, -1)
        """The gauge's newest change and the counter's epoch, which the start is of."""
        self._start_ns = self._start_uj = 0

    def stuck(self) -> bool:
        gauge, counter = self._gauge, self._counter
        if gauge.away or counter.away:
            self._since = (-1, -1)
            return False
        since = (gauge.changed_ns, counter.epoch)
        if since != self._since:
            self._since = since
            self._start_ns, self._start_uj = counter.changed_ns, counter.total_uj
            return False
        span_ns = counter.changed_ns - self._start_ns
        if gauge.seen_ns - gauge.changed_ns <= FROZEN_NS or span_ns <= FROZEN_NS // 2:
            return False
        mean_mw = (counter.total_uj - self._start_uj) * NS_MW_PER_UJ // span_ns
        apart_mw = abs(mean_mw - gauge.level_mw)
        return apart_mw > _APART_MW and 4 * apart_mw > max(mean_mw, gauge.level_mw)


def _modelled(sensor: Sensor) -> bool:
    return bool(sensor.flags & Flag.ESTIMATED)
