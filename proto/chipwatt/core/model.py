"""The words of the design as types. Numbers equal those of ``chipwatt/v1/types.proto``."""

from __future__ import annotations

from enum import IntEnum, IntFlag


class DeviceKind(IntEnum):
    """What a device is; host seconds add up by it."""

    CPU = 1
    GPU = 2
    MEMORY = 3
    MODULE = 4
    BOARD = 5
    OTHER = 6


class Domain(IntEnum):
    """What one sensor covers on a device."""

    PACKAGE = 1
    DRAM = 2
    CORE = 3
    UNCORE = 4
    PSYS = 5
    BOARD = 6
    MEMORY = 7
    MODULE = 8


class Interface(IntEnum):
    """The firmware interface that a reading came through."""

    NVML = 1
    AMDSMI = 2
    RAPL_POWERCAP = 3
    RAPL_PERF = 4
    PYRAPL = 5
    HWMON = 6
    HSMP = 7
    ESTIMATE = 8
    REPLAY = 9
    EXTERNAL = 10


class Method(IntEnum):
    """How energy came about."""

    COUNTER = 1
    """Differences of a firmware energy counter."""
    INTEGRATED = 2
    """Trapezoid over a firmware power gauge."""
    ESTIMATED = 3
    """A model of a chip without a sensor."""


class Statistic(IntEnum):
    """What a sensor's value says of power over time.

    One domain may have several; energy is added up from one of them only.
    """

    ENERGY = 1
    """Differences of a counter."""
    INSTANT = 2
    """A gauge at the moment of its refresh."""
    AVERAGE = 3
    """A gauge that the vendor averages over a trailing window."""


def statistic_of_gauge(averaging: int) -> Statistic:
    """Return what a gauge is that is averaged over ``averaging`` of any unit; 0 none is known."""
    return Statistic.AVERAGE if averaging else Statistic.INSTANT


class Attribution(IntEnum):
    """How a workload's share of its chips was found."""

    EXACT = 1
    """It held them alone: what they used is what it used."""
    MODELLED = 2
    """It shared them, by CPU time, slices or turns."""


class GapReason(IntEnum):
    """Why energy of an interval cannot be known."""

    COUNTER_RESET = 1
    AGENT_DOWN = 2
    SENSOR_LOST = 3
    SENSOR_STALLED = 4
    PERMISSION_LOST = 5
    SPOOL_DAMAGED = 6
    IMPLAUSIBLE = 7
    STORE_DAMAGED = 8
    """The collector had it and lost it: damage to its store."""


class AbsentReason(IntEnum):
    """Why an interface gives no sensor on a host."""

    NOT_PRESENT = 1
    PERMISSION_DENIED = 2
    HIDDEN_BY_POLICY = 3
    LIBRARY_MISSING = 4
    LIBRARY_FAILED = 5
    DISABLED = 6
    NOT_NEEDED = 7


class Flag(IntFlag):
    """What a reader of a window must know before trusting it."""

    ESTIMATED = 1 << 0
    """A power model, not a sensor."""
    INTEGRATED = 1 << 1
    """Energy is the trapezoid of a power gauge."""
    PARTIAL = 1 << 2
    """Less than 95 % of the window was seen."""
    SUSPECT = 1 << 3
    """The counter stood still while others moved, or the counter of its own domain contradicts the
    gauge."""
    FILTERED = 1 << 4
    """Firmware adds noise on purpose."""
    RATE_REDUCED = 1 << 5
    """The cost budget widened the polling period."""
    PEAK_BEYOND_SENSOR = 1 << 6
    """The sensor refreshes too slowly for at least one of the peaks, which is absent, or power
    peaks in less time than its levels can be told apart in."""
    SWING_BEYOND_SENSOR = 1 << 7
    """The sensor refreshes too slowly for the upper part of 0.1 to 20 Hz."""
    EPOCH_START = 1 << 8
    """The first window after a counter reset or a start without memory."""
    RESUMED = 1 << 9
    """The window bridges a time in which no agent ran; its energy is exact."""
    CLOCK_STEPPED = 1 << 10
    """The wall clock jumped inside the window."""
    REPLAYED = 1 << 11
    """From a recorded trace."""
    ROOT = 1 << 12
    """This domain is one of those that are added up."""
    MERGED = 1 << 13
    """Made of adjacent windows."""
    CLOCK_AHEAD = 1 << 14
    """Set by the collector: the row said a time more than two minutes in its future, and now says
    when it came instead; its durations and its place on the monotonic clock stand."""
    IMPLAUSIBLE = 1 << 15
    """Set by the collector: mean power of more than 1.5 times what the sensor says is possible."""
    HELD_ALONE = 1 << 16
    """One workload held the device, or a part of the module, alone: its books are the workload's
    and leave the operator's trust only as coarse as the workload does."""


def flag_names(flags: int) -> list[str]:
    """Return the names of the flags that are set, lowest bit first; unknown bits are left out."""
    return [flag.name for flag in Flag if flags & flag and flag.name]
