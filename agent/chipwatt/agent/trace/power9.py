"""Run-length files of the IBM POWER9 on-chip controller (tud-zih-energy/2022-power9-occ).

A row is a run of back-to-back reads that gave one value: value, change, how
long it was held in ns, reads in it. No row tells a time of day, so a trace
starts at the beginning of 2022, the year of the recording, and the runs follow
one another.

The controller renews its values every 40.08 ms. A power value that was held
for k renewals was k samples, so it becomes k, evenly spaced. The accumulator
adds the power in W every 500 µs (the same project's phase file counts 1996
updates a second), so one tick is 500 µJ; its 526 W agree with the 521 to 572 W
that the power sensor shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from chipwatt.agent.sensing.contract import Quantity
from chipwatt.agent.trace.gather import NOT_A_NUMBER, Gather
from chipwatt.agent.trace.text import decimal, rest, stamp
from chipwatt.core.errors import TraceError
from chipwatt.core.model import DeviceKind

_START_UNIX_NS = stamp("2022-01-01 00:00:00") or 0
_RENEWAL_NS = 40_080_000
_TICK_UJ = 500
_LABEL = "occ"
_COLUMNS = "\tdelta_value\tduration_ns\tduration_samples"


class Power9Sensor:
    """Runs of a power sensor in µW."""

    name = "POWER9 sensor runs (#sensor_value, tab-separated)"

    def recognise(self, first_line: str) -> bool:
        return first_line.strip() == "#sensor_value" + _COLUMNS

    def read(self, lines: Iterable[str], gather: Gather) -> None:
        for start_ns, duration_ns, text in _runs(lines, gather):
            value_mw = decimal(text, -3)
            renewals = max(1, (2 * duration_ns + _RENEWAL_NS) // (2 * _RENEWAL_NS))
            for k in range(renewals):
                when = start_ns + duration_ns * k // renewals
                gather.add(_LABEL, when, value_mw, DeviceKind.BOARD, rest=rest(text, -3))


class Power9Accumulator:
    """Runs of an energy accumulator."""

    name = "POWER9 accumulator runs (#acc_value, tab-separated)"

    def recognise(self, first_line: str) -> bool:
        return first_line.strip() == "#acc_value" + _COLUMNS

    def read(self, lines: Iterable[str], gather: Gather) -> None:
        for start_ns, _, text in _runs(lines, gather):
            ticks = decimal(text)
            value_uj = None if ticks is None else ticks * _TICK_UJ
            gather.add(_LABEL, start_ns, value_uj, DeviceKind.BOARD, Quantity.ENERGY_UJ, _TICK_UJ)


class Power9Phases:
    """Means over phases: recognised so that the refusal can say why."""

    name = "POWER9 phase means"

    def recognise(self, first_line: str) -> bool:
        return first_line.startswith("begin\tend\t")

    def read(self, lines: Iterable[str], gather: Gather) -> None:  # noqa: ARG002 - see Format
        raise TraceError(
            "a table of means over phases of a minute is no time series: replay the sensor or "
            "accumulator runs of the same recording, or write unix_ns,device,power_mw rows"
        )


def _runs(lines: Iterable[str], gather: Gather) -> Iterator[tuple[int, int, str]]:
    """Yield (start in unix ns, duration in ns, text of the value) of each run.

    A run whose duration cannot be read leaves the place of all later ones
    unknown: raises TraceError that names the line.
    """
    now_ns = _START_UNIX_NS
    for number, line in enumerate(lines, 1):
        cells = line.split()
        if not cells or cells[0].startswith("#"):
            continue
        duration_ns = decimal(cells[2]) if len(cells) > 2 else None
        if duration_ns is None or duration_ns <= 0:
            raise TraceError(
                f"line {number} does not tell how long its value was held, so the times of all "
                "that follow are unknown: cut the file before it"
            )
        if decimal(cells[0]) is None:
            gather.skipped[NOT_A_NUMBER] += 1
        else:
            yield now_ns, duration_ns, cells[0]
        now_ns += duration_ns
