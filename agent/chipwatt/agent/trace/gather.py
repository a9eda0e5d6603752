"""Collects the samples of a trace file and counts the rows that cannot be used.

A row is used as it stands or left out: no value is filled in, no stamp moved.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from chipwatt.agent.sensing.contract import Quantity
from chipwatt.agent.trace.model import BRIDGE_NS, Trace, TraceDevice
from chipwatt.agent.trace.text import NOTHING
from chipwatt.core.errors import TraceError
from chipwatt.core.model import DeviceKind

MISSING = "missing value"
NOT_A_NUMBER = "not a number"
BAD_STAMP = "no usable time stamp"
DUPLICATE = "time stamp seen before"
BACKWARDS = "time stamp goes back"
AHEAD = "time stamp far ahead of those that follow"
NEGATIVE = "negative value"
IMPOSSIBLE = "impossible value"
UNREADABLE = "unreadable row"

_EARLIEST_UNIX_NS = 946_684_800_000_000_000  # 2000-01-01, the earliest that the wire carries
_LATEST_UNIX_NS = 7_258_118_400_000_000_000  # 2200-01-01
_LARGEST = {Quantity.POWER_MW: 1_000_000_000, Quantity.ENERGY_UJ: 1 << 62}  # 1 MW; the wire's limit


class Gather:
    """The samples so far, by device, and the rows left out, by reason."""

    def __init__(self) -> None:
        self.skipped: Counter[str] = Counter()
        self._devices: dict[str, tuple[DeviceKind, Quantity, int, list[int], list[int]]] = {}
        self._rests: dict[str, Fraction] = {}
        """What rounding took from each device's newest sample."""
        self._rounded: dict[str, Fraction] = {}
        """What it took from the energy so far; only devices that lost something."""
        self._before: dict[str, tuple[Fraction | None, Fraction | None]] = {}
        """Both as they were before each device's newest sample."""

    def add(
        self,
        label: str,
        stamp_unix_ns: int | None,
        value: int | None,
        kind: DeviceKind,
        quantity: Quantity = Quantity.POWER_MW,
        resolution_uj: int = 1,
        *,
        rest: Fraction = NOTHING,
    ) -> None:
        """Take one sample, or count why not; ``None`` means text that is no number.

        ``rest`` is the exact number in the file less ``value``.
        """
        if value is None:
            self.skipped[NOT_A_NUMBER] += 1
        elif value < 0:
            self.skipped[NEGATIVE] += 1
        elif value > _LARGEST[quantity]:
            self.skipped[IMPOSSIBLE] += 1
        elif stamp_unix_ns is None or not _EARLIEST_UNIX_NS <= stamp_unix_ns < _LATEST_UNIX_NS:
            self.skipped[BAD_STAMP] += 1
        else:
            device = self._devices.get(label)
            if device is None:
                device = self._devices[label] = (kind, quantity, resolution_uj, [], [])
            stamps, values = device[3:]
            if _leapt(stamps, stamp_unix_ns):
                self._take_back(label, stamps, values)
            if stamps and stamp_unix_ns <= stamps[-1]:
                self.skipped[DUPLICATE if stamp_unix_ns == stamps[-1] else BACKWARDS] += 1
            else:
                self._before[label] = (self._rounded.get(label), self._rests.get(label))
                stamps.append(stamp_unix_ns)
                values.append(value)
                if rest or self._rests.get(label):
                    self._round(label, quantity, stamps, values, rest)
                    self._rests[label] = rest

    def _take_back(self, label: str, stamps: list[int], values: list[int]) -> None:
        """Leave a device's newest sample out after all: its stamp was the wrong one."""
        self.skipped[AHEAD] += 1
        del stamps[-1], values[-1]
        for book, before in zip((self._rounded, self._rests), self._before[label], strict=True):
            book.pop(label, None)
            if before is not None:
                book[label] = before

    def _round(
        self, label: str, quantity: Quantity, stamps: list[int], values: list[int], rest: Fraction
    ) -> None:
        """Add what the step to the newest sample loses in energy, as ``TraceDevice`` counts it."""
        lost = self._rounded.setdefault(label, NOTHING)
        if len(values) < 2:
            return
        before = self._rests.get(label, NOTHING)
        if quantity is Quantity.POWER_MW:
            if stamps[-1] - stamps[-2] > BRIDGE_NS:
                return
            lost += (before + rest) * (stamps[-1] - stamps[-2]) / 2_000_000
        else:
            rise = values[-1] - values[-2]
            lost += max(NOTHING, rise + rest - before) - max(0, rise)
        self._rounded[label] = lost

    def trace(self, name: str, format_name: str) -> Trace:
        """Return what was gathered; raises TraceError where that is nothing."""
        if not self._devices:
            why = ", ".join(f"{count} x {reason}" for reason, count in self.skipped.items())
            raise TraceError(
                f"looks like {format_name}, but has no usable row ({why or 'no rows'})"
            )
        devices = tuple(
            TraceDevice(
                label,
                kind,
                quantity,
                tuple(stamps),
                tuple(values),
                resolution_uj,
                self._rounded.get(label),
            )
            for label, (kind, quantity, resolution_uj, stamps, values) in self._devices.items()
        )
        return Trace(name, format_name, devices, dict(self.skipped))


def _leapt(stamps: list[int], stamp_unix_ns: int) -> bool:
    """Return whether the newest stamp leapt over a hole that this one lies in."""
    if len(stamps) < 2 or stamp_unix_ns >= stamps[-1]:
        return False
    return stamps[-2] < stamp_unix_ns and stamps[-1] - stamps[-2] > BRIDGE_NS
