"""Says on this host which readings were thrown away: sensor, raw value, what it could have been.

Windows carry only how many there were. A raw value can tell of a tenant's work,
so it goes into the log of the sensing process and nowhere else, and a sensor
that is broken for good fills no disk: a line a minute.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chipwatt.agent.ledger import Ledger
from chipwatt.agent.sensing.contract import Sensor
from chipwatt.core.clock import NS_PER_S

EVERY_NS: Final = 60 * NS_PER_S
"""Between two lines about one sensor."""
_LOOK_NS: Final = NS_PER_S
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Line:
    sensor: Sensor
    ledger: Ledger
    believed_mw: int
    told: int = 0
    next_ns: int = 0
    frozen: bool = False


class RejectionLog:
    """Looks at every sensor's ledger; ``look`` costs nothing until its time has come."""

    def __init__(self, sensors: Sequence[Sensor], ledgers: Sequence[Ledger]) -> None:
        self._lines = [
            _Line(sensor, ledger, ledger.max_power_mw)
            for sensor, ledger in zip(sensors, ledgers, strict=True)
        ]
        self._next_ns = 0

    def look(self, mono_ns: int) -> None:
        """Log what was rejected since the last line, about once a second and not too often."""
        if mono_ns < self._next_ns:
            return
        self._next_ns = mono_ns + _LOOK_NS
        for line in self._lines:
            if line.ledger.frozen is not line.frozen:
                _say_frozen(line)
            if line.ledger.max_power_mw > line.believed_mw:
                _say_raised(line)
            if line.ledger.dropped > line.told and mono_ns >= line.next_ns:
                line.next_ns = mono_ns + EVERY_NS
                _say(line)

    def finish(self) -> None:
        """Log what no line has told yet."""
        for line in self._lines:
            if line.ledger.dropped > line.told:
                _say(line)


def _say_raised(line: _Line) -> None:
    sensor, before_mw = line.sensor, line.believed_mw
    line.believed_mw = line.ledger.max_power_mw
    _log.warning(
        "%s %s %s: everything it showed for ten seconds was above the %d mW that its limit makes "
        "possible: the limit is taken to be wrong, and up to %d mW is believed from now on",
        sensor.device,
        sensor.domain.name.lower(),
        sensor.statistic.name.lower(),
        before_mw,
        line.believed_mw,
    )


def _say_frozen(line: _Line) -> None:
    sensor, line.frozen = line.sensor, line.ledger.frozen
    name = f"{sensor.device} {sensor.domain.name.lower()}"
    if line.frozen:
        _log.warning(
            "%s: its counter stands still while others move: it is frozen, and what is drawn "
            "from its last change on is a gap; reload its driver",
            name,
        )
    else:
        _log.warning("%s: its counter counts again", name)


def _say(line: _Line) -> None:
    sensor, ledger, rejected = line.sensor, line.ledger, line.ledger.rejected
    count, line.told = ledger.dropped - line.told, ledger.dropped
    if rejected is None:
        return
    _log.warning(
        "%s %s %s: %d dropped since the last line, the newest %d %s, possible were %d to %d",
        sensor.device,
        sensor.domain.name.lower(),
        sensor.statistic.name.lower(),
        count,
        rejected.raw,
        "uJ" if ledger.counter else "mW",
        rejected.least,
        rejected.most,
    )
