"""What a source is, and the three outcomes of asking it.

A source talks to one vendor interface. Units stop here: whatever the vendor
counts in, a source gives µJ for energy counters and mW for power gauges, as
Python integers.

Outcomes: ``SourceUnavailable`` at ``open`` (not there; quiet), ``TransientReadError``
at ``poll`` (counted, tried again), any other exception (this source stops,
the rest goes on).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import ClassVar, NamedTuple, Protocol

from chipwatt.core.identity import DeviceId
from chipwatt.core.model import AbsentReason, Domain, Interface, Statistic, statistic_of_gauge
from chipwatt.core.records import Throttle


class Quantity(IntEnum):
    """What a sensor's raw value is."""

    ENERGY_UJ = 1
    """A counter of µJ since the start of its epoch."""
    POWER_MW = 2
    """A gauge of mW."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Between what its power limit may be set, and what it is by default; None not told."""

    min_mw: int | None = None
    max_mw: int | None = None
    default_mw: int | None = None


@dataclass(frozen=True, slots=True)
class Sensor:
    """One firmware value of one domain, as its source found it."""

    device: DeviceId
    domain: Domain
    interface: Interface
    quantity: Quantity
    root: bool
    """Whether this domain is one of those that are added up for the host. Where it has
    several sensors, the inventory lets one of them count."""
    label: str = ""
    """For people on this host only (``package-0``, ``card3``); it never leaves the host."""
    modulus_uj: int = 0
    """A counter runs from 0 to ``modulus_uj - 1`` and wraps; 0 where it never does."""
    resolution_uj: int = 1
    """Smallest step of the counter."""
    refresh_ns: int = 0
    """What the vendor documents; the sampler measures it and believes that. 0 not known."""
    averaging_ns: int = 0
    """Trailing window over which the vendor says that a gauge is averaged; 0 instantaneous, or
    nothing is said. The sampler measures it where it can, and believes that."""
    max_power_mw: int = 2_000_000
    """Above this a change is impossible: a reset, a sentinel or a spike."""
    stamped: bool = False
    """Whether ``Reading.mono_ns`` is the sample's own time: an equal value with a
    new stamp is then a new sample. Else it is the time of the poll."""
    flags: int = 0
    """``Flag`` bits set in every window of this sensor (ESTIMATED, FILTERED, REPLAYED)."""
    limits: Limits = field(default_factory=Limits)
    """For people on this host only."""
    contains: tuple[DeviceId, ...] = ()
    """Devices inside a module whose own sensors would repeat a part of it, as far as known."""

    @property
    def statistic(self) -> Statistic:
        """What the value says of power; tells sensors of one domain apart."""
        if self.quantity is Quantity.ENERGY_UJ:
            return Statistic.ENERGY
        return statistic_of_gauge(self.averaging_ns)


class Reading(NamedTuple):
    """One raw value. ``sensor`` is the position in the list that ``open`` returned."""

    sensor: int
    mono_ns: int
    value: int


class Missing(NamedTuple):
    """A sensor that an open source knows of and cannot open.

    A source names them in an attribute ``missing`` of its own, and takes out what it
    finds that it could open by now: it is then opened anew.
    """

    what: str
    """``cpu/1 package (package-1)``."""
    reason: AbsentReason
    detail: str
    """Which file or call it is and what to do; not sent."""


class SourceUnavailable(Exception):
    """The interface gives nothing on this host.

    ``detail`` is a sentence for the person at this host; it is not sent.
    """

    def __init__(self, reason: AbsentReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class TransientReadError(Exception):
    """This poll failed; the next may not."""


class Source(Protocol):
    """One vendor interface."""

    name: ClassVar[str]
    interface: ClassVar[Interface]
    library: ClassVar[bool]
    """True where a poll enters a vendor library, which may block: such a source is
    polled by a worker of its own, with a time limit, never by the deadline loop."""
    fallback: ClassVar[bool]
    """True for a model: used only for devices that no other source has a sensor for."""

    def open(self) -> Sequence[Sensor]:
        """Find the sensors. Raises SourceUnavailable."""
        ...

    def poll(self) -> Sequence[Reading]:
        """Read every sensor once. Raises TransientReadError."""
        ...

    def throttle(self) -> Sequence[tuple[int, Throttle]]:
        """Return limit and *cumulative* throttled time by sensor; about once a second."""
        ...

    def close(self) -> None:
        """Give everything back; safe to call twice."""
        ...
