"""Every metric that leaves by OTLP, as data: name, unit, instrument, attributes, meaning, example.

``python -m chipwatt.collector.telemetry.page`` writes them down for people. Names and units are
those of OpenTelemetry's semantic conventions 1.44 for hardware where these have one, else
names begin with ``chipwatt.``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Instrument(StrEnum):
    """What kind of OTLP data a metric is."""

    COUNTER = "counter"
    """Cumulative monotonic sum."""
    UP_DOWN_COUNTER = "up-down counter"
    """Cumulative sum that may fall."""
    GAUGE = "gauge"
    HISTOGRAM = "exponential histogram"
    """Cumulative."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as it is announced in each request."""

    name: str
    unit: str
    instrument: Instrument
    meaning: str
    """One sentence, sent as the description."""
    attributes: tuple[str, ...]
    """Beside those of every component (``COMPONENT``)."""
    example: str
    is_of_component: bool = True


COMPONENT: Final = (
    "hw.id", "hw.type", "hw.name", "hw.parent", "chipwatt.method", "chipwatt.statistic",
    "chipwatt.interface", "chipwatt.filtered",
)  # fmt: skip
"""Attributes of every point of a component's sensor."""
_HOST: Final = ("hw.id", "chipwatt.method")
_GAP: Final = ("hw.id", "hw.type", "hw.name", "chipwatt.statistic", "chipwatt.reason")

ENERGY: Final = Metric(
    "hw.energy", "J", Instrument.COUNTER, "Energy consumed by the component.", (), "987654321.5"
)
POWER: Final = Metric(
    "hw.power", "W", Instrument.GAUGE, "Mean power of the component over the interval.", (), "412.7"
)
STATUS: Final = Metric(
    "hw.status",
    "1",
    Instrument.UP_DOWN_COUNTER,
    "1 in the state the component is in: degraded where heat or a power brake slowed it in the "
    "interval, or its sensor contradicts itself.",
    ("hw.state",),
    "1",
)
HOST_ENERGY: Final = Metric(
    "hw.host.energy",
    "J",
    Instrument.COUNTER,
    "Energy consumed by the host's components since first seen.",
    _HOST,
    "123456",
    is_of_component=False,
)
HOST_POWER: Final = Metric(
    "hw.host.power",
    "W",
    Instrument.GAUGE,
    "Mean power of the host's components over the interval.",
    _HOST,
    "3405.2",
    is_of_component=False,
)
DOMAIN_ENERGY: Final = Metric(
    "chipwatt.domain.energy",
    "J",
    Instrument.COUNTER,
    "Energy of a domain that overlaps a component.",
    (),
    "600.25",
)
DOMAIN_POWER: Final = Metric(
    "chipwatt.domain.power",
    "W",
    Instrument.GAUGE,
    "Mean power of a domain that overlaps a component.",
    (),
    "60.1",
)
PROFILE: Final = Metric(
    "chipwatt.power",
    "W",
    Instrument.HISTOGRAM,
    "Time in ms spent at each power, as the fast samples had it.",
    (),
    "scale 6, 41 buckets",
)
MIN: Final = Metric(
    "chipwatt.power.min", "W", Instrument.GAUGE, "Least power in the interval.", (), "71.3"
)
MAX: Final = Metric(
    "chipwatt.power.max", "W", Instrument.GAUGE, "Greatest power in the interval.", (), "702.8"
)
PEAK: Final = Metric(
    "chipwatt.power.peak",
    "W",
    Instrument.GAUGE,
    "Largest mean power over any stretch of the time scale that ends in the interval.",
    ("chipwatt.timescale",),
    "688.0",
)
RAMP: Final = Metric(
    "chipwatt.power.ramp",
    "W/s",
    Instrument.GAUGE,
    "Largest change of power from one stretch of the time scale to the next.",
    ("chipwatt.direction", "chipwatt.timescale"),
    "5120.0",
)
SWING_FREQUENCY: Final = Metric(
    "chipwatt.power.swing.frequency",
    "Hz",
    Instrument.GAUGE,
    "Frequency between 0.1 and 20 Hz at which power swings most.",
    (),
    "0.8",
)
SWING_AMPLITUDE: Final = Metric(
    "chipwatt.power.swing.amplitude",
    "W",
    Instrument.GAUGE,
    "Half of peak to peak at the frequency at which power swings most.",
    (),
    "180.5",
)
SWING_SHARE: Final = Metric(
    "chipwatt.power.swing.share",
    "1",
    Instrument.GAUGE,
    "Share of the alternating power that lies between 0.1 and 20 Hz.",
    (),
    "0.93",
)
LIMIT: Final = Metric(
    "chipwatt.power.limit",
    "W",
    Instrument.GAUGE,
    "Power limit in force at the end of the interval.",
    ("hw.limit_type",),
    "700",
)
THROTTLED: Final = Metric(
    "chipwatt.throttle.time",
    "s",
    Instrument.COUNTER,
    "Time for which the component was slowed, by reason, since first seen.",
    ("chipwatt.reason",),
    "12.5",
)
COVERAGE: Final = Metric(
    "chipwatt.coverage",
    "1",
    Instrument.GAUGE,
    "Share of the interval that the sensor saw.",
    (),
    "0.998",
)
POLLS: Final = Metric(
    "chipwatt.sensor.polls",
    "{poll}",
    Instrument.COUNTER,
    "Polls of the sensor by what came of them, since first seen.",
    ("chipwatt.outcome",),
    "5994",
)
REFRESH: Final = Metric(
    "chipwatt.sensor.refresh",
    "s",
    Instrument.GAUGE,
    "Measured time between changes of the sensor's value.",
    (),
    "0.1",
)
AVERAGING: Final = Metric(
    "chipwatt.sensor.averaging",
    "s",
    Instrument.GAUGE,
    "Time over which the sensor averages its value.",
    (),
    "1",
)
GAP_LOWER: Final = Metric(
    "chipwatt.gap.energy.lower",
    "J",
    Instrument.COUNTER,
    "Least energy drawn where nobody could know it.",
    _GAP,
    "0",
    is_of_component=False,
)
GAP_UPPER: Final = Metric(
    "chipwatt.gap.energy.upper",
    "J",
    Instrument.COUNTER,
    "Most energy drawn where nobody could know it.",
    _GAP,
    "8400",
    is_of_component=False,
)
GAP_DURATION: Final = Metric(
    "chipwatt.gap.duration",
    "s",
    Instrument.COUNTER,
    "Time of which the energy is not known.",
    _GAP,
    "12",
    is_of_component=False,
)
GAP_COUNT: Final = Metric(
    "chipwatt.gap.count",
    "{gap}",
    Instrument.COUNTER,
    "Gaps in what is known of the energy.",
    _GAP,
    "1",
    is_of_component=False,
)

METRICS: Final = (
    ENERGY, POWER, STATUS, HOST_ENERGY, HOST_POWER, DOMAIN_ENERGY, DOMAIN_POWER, PROFILE, MIN, MAX,
    PEAK, RAMP, SWING_FREQUENCY, SWING_AMPLITUDE, SWING_SHARE, LIMIT, THROTTLED, COVERAGE, POLLS,
    REFRESH, AVERAGING, GAP_LOWER, GAP_UPPER, GAP_DURATION, GAP_COUNT,
)  # fmt: skip
