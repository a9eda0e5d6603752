"""The formats of recorded traces, each known by the first line of a file.

``recognise`` is given that line; ``read`` all lines, the first included.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from chipwatt.agent.sensing.contract import Quantity
from chipwatt.agent.trace.gather import BAD_STAMP, MISSING, UNREADABLE, Gather
from chipwatt.agent.trace.text import decimal, rest, stamp
from chipwatt.core.model import DeviceKind

_NOT_GIVEN = frozenset({"", "n/a", "[n/a]", "na", "nan", "null", "none", "-"})


class Format(Protocol):
    """One kind of file."""

    @property
    def name(self) -> str:
        """In words, for messages."""
        ...

    def recognise(self, first_line: str) -> bool: ...

    def read(self, lines: Iterable[str], gather: Gather) -> None:
        """Give every sample to ``gather``."""
        ...


@dataclass(frozen=True, slots=True)
class Table:
    """Comma-separated rows under a header: a stamp, perhaps a device, a value."""

    name: str
    header: Sequence[str]
    """The first columns, in any case of letters; a file may have more."""
    value: str
    power_of_ten: int
    """From the column's unit to mW or µJ."""
    kind: DeviceKind | None
    """None: the device column says it, as in ``gpu/0``."""
    device: str = ""
    """Column of the device's name; empty where the file has one device."""
    label: str = ""
    """Name of that one device."""
    quantity: Quantity = Quantity.POWER_MW
    stamp_in_ns: bool = False

    def recognise(self, first_line: str) -> bool:
        columns = [column.strip().lower() for column in first_line.split(",")]
        return columns[: len(self.header)] == list(self.header)

    def read(self, lines: Iterable[str], gather: Gather) -> None:
        value_at = self.header.index(self.value)
        device_at = self.header.index(self.device) if self.device else None
        needed = (0, value_at, *(() if device_at is None else (device_at,)))
        for number, line in enumerate(lines):
            if number == 0 or not line.strip():
                continue
            # No csv module: one stray quote in a damaged row would swallow the rest of the file.
            cells = [cell.strip().strip('"') for cell in line.split(",")]
            if any(at >= len(cells) or cells[at].lower() in _NOT_GIVEN for at in needed):
                gather.skipped[MISSING] += 1
                continue
            label = self.label if device_at is None else cells[device_at]
            when = decimal(cells[0]) if self.stamp_in_ns else stamp(cells[0])
            value = decimal(cells[value_at], self.power_of_ten)
            gather.add(
                label,
                when,
                value,
                self.kind or kind_of_label(label),
                self.quantity,
                rest=rest(cells[value_at], self.power_of_ten),
            )


class Mllog:
    """``:::MLLOG`` lines of MLPerf training's node power, key ``power_reading`` in W."""

    name = "an MLPerf power log (:::MLLOG)"

    def recognise(self, first_line: str) -> bool:
        return first_line.startswith(":::MLLOG")

    def read(self, lines: Iterable[str], gather: Gather) -> None:
        for line in lines:
            mark, _, text = line.partition(" ")
            if mark != ":::MLLOG":
                continue
            try:
                entry = json.loads(text, parse_float=str, parse_int=str)
                if entry["key"] != "power_reading":
                    continue
                host = str(entry["metadata"].get("host", "node"))
                when, text = decimal(str(entry["time_ms"]), 6), str(entry["value"])
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                gather.skipped[UNREADABLE] += 1
                continue
            gather.add(host, when, decimal(text, 3), DeviceKind.BOARD, rest=rest(text, 3))


class PtDaemon:
    """SPEC PTDaemon wall logs: ``Time,<stamp>,Watts,<sum of the channels>,...``."""

    name = "a SPEC PTDaemon log (Time,...,Watts,...)"

    def recognise(self, first_line: str) -> bool:
        cells = first_line.split(",", 4)
        return len(cells) > 3 and cells[0] == "Time" and cells[2] == "Watts"

    def read(self, lines: Iterable[str], gather: Gather) -> None:
        for line in lines:
            cells = line.split(",", 4)
            if len(cells) < 4 or cells[0] != "Time" or cells[2] != "Watts":
                if line.strip():
                    gather.skipped[UNREADABLE] += 1
                continue
            when = stamp(cells[1])
            if when is None:
                gather.skipped[BAD_STAMP] += 1
            elif decimal(cells[3]) == -1:  # the analyser's "not available"
                gather.skipped[MISSING] += 1
            else:
                value = decimal(cells[3], 3)
                gather.add("wall", when, value, DeviceKind.BOARD, rest=rest(cells[3], 3))


def kind_of_label(label: str) -> DeviceKind:
    """Return the kind in ``gpu/0``; OTHER where a name has none."""
    name, slash, _ = label.partition("/")
    return DeviceKind.__members__.get(name.upper(), DeviceKind.OTHER) if slash else DeviceKind.OTHER
