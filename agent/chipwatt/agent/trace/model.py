"""What a recorded trace is, whatever file it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import NamedTuple

from chipwatt.agent.sensing.contract import Quantity
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.model import DeviceKind, Domain

DOMAIN_OF_KIND = {
    DeviceKind.CPU: Domain.PACKAGE,
    DeviceKind.GPU: Domain.BOARD,
    DeviceKind.MEMORY: Domain.DRAM,
    DeviceKind.MODULE: Domain.MODULE,
    DeviceKind.BOARD: Domain.BOARD,
    DeviceKind.OTHER: Domain.BOARD,
}
"""The domain that a trace's only series of a device stands for."""


BRIDGE_NS = 30 * NS_PER_S
"""A hole in a recording that is longer than this is a gap: nobody draws a line through it."""
_HOLE_NS = 2 * NS_PER_S
_HOLE_REFRESHES = 10


class Holes(NamedTuple):
    """Where a recording has no samples although many were due."""

    number: int
    longest_ns: int
    gaps: int
    """How many of them are too long for a line through them."""


@dataclass(frozen=True, slots=True)
class TraceDevice:
    """One device's series, stamps strictly ascending."""

    label: str
    """The name in the file."""
    kind: DeviceKind
    quantity: Quantity
    stamps_unix_ns: tuple[int, ...]
    values: tuple[int, ...]
    """mW of a power gauge or µJ of an energy counter, one a stamp."""
    resolution_uj: int = 1
    """Smallest step of a counter."""
    rounded: Fraction | None = None
    """Energy in µJ that the file's own decimals have beyond ``values``, which are whole; exact.
    None: they are whole as well."""

    @property
    def domain(self) -> Domain:
        """The domain that the series stands for."""
        return DOMAIN_OF_KIND[self.kind]

    @property
    def refresh_ns(self) -> int:
        """Median time between samples, in ns; 0 where there are fewer than two."""
        gaps = sorted(later - earlier for earlier, later in pairwise(self.stamps_unix_ns))
        return gaps[len(gaps) // 2] if gaps else 0

    @property
    def energy_uj(self) -> int:
        """The energy of the series, rounded down to µJ: exact, and computed from it alone.

        A gauge's is the trapezoid over its samples, holes of more than ``BRIDGE_NS`` left
        out. A counter's is the sum of its rises: a fall is a reset, and nobody knows
        what the counter missed there.
        """
        if self.quantity is Quantity.ENERGY_UJ:
            return sum(max(0, later - earlier) for earlier, later in pairwise(self.values))
        return self._twice_mw_ns // 2_000_000

    @property
    def _twice_mw_ns(self) -> int:
        samples = pairwise(zip(self.stamps_unix_ns, self.values, strict=True))
        return sum((p0 + p1) * (t1 - t0) for (t0, p0), (t1, p1) in samples if t1 - t0 <= BRIDGE_NS)

    @property
    def holes(self) -> Holes:
        """Steps of at least 2 s and ten times the usual one."""
        least_ns = max(_HOLE_NS, _HOLE_REFRESHES * self.refresh_ns)
        steps = (later - earlier for earlier, later in pairwise(self.stamps_unix_ns))
        found = [step for step in steps if step >= least_ns]
        return Holes(len(found), max(found, default=0), sum(step > BRIDGE_NS for step in found))

    @property
    def rounding_uj(self) -> int:
        """Energy of the file's unrounded decimals, rounded down, less ``energy_uj``."""
        if self.rounded is None:
            return 0
        if self.quantity is Quantity.ENERGY_UJ:
            return floor(self.energy_uj + self.rounded) - self.energy_uj
        return floor(Fraction(self._twice_mw_ns, 2_000_000) + self.rounded) - self.energy_uj


@dataclass(frozen=True, slots=True)
class Trace:
    """A recording of one host."""

    name: str
    format: str
    """The format that was recognised, in words."""
    devices: tuple[TraceDevice, ...]
    """In the order of their first sample; never empty."""
    skipped: Mapping[str, int]
    """Rows that were left out, by reason."""

    @property
    def skipped_rows(self) -> int:
        """How many rows were left out."""
        return sum(self.skipped.values())

    @property
    def start_unix_ns(self) -> int:
        """Time of the first sample."""
        return min(device.stamps_unix_ns[0] for device in self.devices)

    @property
    def end_unix_ns(self) -> int:
        """Time of the last sample."""
        return max(device.stamps_unix_ns[-1] for device in self.devices)

    def device(self, label: str) -> TraceDevice:
        """Return the device called ``label``; raises KeyError."""
        for device in self.devices:
            if device.label == label:
                return device
        raise KeyError(label)

    def trapezoid_uj(self, label: str) -> int:
        """Return the exact energy of the device called ``label``; raises KeyError."""
        return self.device(label).energy_uj
