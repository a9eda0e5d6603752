"""Rows to points: a column of values a metric, each with whom it belongs to and when it was.

Values are divided once, from the integer: a point carries the double nearest to the
exact number of joules, watts or seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from chipwatt.collector.otlp import semconv, table
from chipwatt.collector.otlp.row import REASONS, THROTTLED, UNKNOWN, UNKNOWN_MIN, Row
from chipwatt.collector.otlp.series import Told
from chipwatt.collector.otlp.streams import UJ_PER_J, DomainStreams
from chipwatt.collector.otlp.table import Metric
from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.tables import Array

_OK: Final = semconv.of_number([semconv.text("hw.state", "ok")])
_DEGRADED: Final = semconv.of_number([semconv.text("hw.state", "degraded")])
_HEAT_OR_BRAKE: Final = ("throttled_thermal_ms", "throttled_brake_ms")


def _tail(**texts: str) -> bytes:
    names = {"timescale": "chipwatt.timescale", "direction": "chipwatt.direction",
             "limit_type": "hw.limit_type"}  # fmt: skip
    return semconv.of_number(semconv.text(names[key], value) for key, value in texts.items())


_GAUGES: Final = (
    ("max_mw", 1000, table.MAX, b""),
    ("peak_10ms_mw", 1000, table.PEAK, _tail(timescale="10ms")),
    ("peak_100ms_mw", 1000, table.PEAK, _tail(timescale="100ms")),
    ("peak_1s_mw", 1000, table.PEAK, _tail(timescale="1s")),
    ("rise_100ms_mw_per_s", 1000, table.RAMP, _tail(direction="rise", timescale="100ms")),
    ("fall_100ms_mw_per_s", 1000, table.RAMP, _tail(direction="fall", timescale="100ms")),
    ("rise_1s_mw_per_s", 1000, table.RAMP, _tail(direction="rise", timescale="1s")),
    ("fall_1s_mw_per_s", 1000, table.RAMP, _tail(direction="fall", timescale="1s")),
    ("swing_frequency_mhz", 1000, table.SWING_FREQUENCY, b""),
    ("swing_amplitude_mw", 1000, table.SWING_AMPLITUDE, b""),
    ("swing_share_ppm", 1_000_000, table.SWING_SHARE, b""),
    ("limit_mw", 1000, table.LIMIT, _tail(limit_type="max")),
)
_REASONS: Final = tuple(
    semconv.of_number([semconv.text("chipwatt.reason", reason)]) for reason in REASONS
)
_OUTCOMES: Final = {
    name: semconv.of_number([semconv.text("chipwatt.outcome", name)])
    for name in ("fresh", "repeated", "dropped", "missed")
}


@dataclass(frozen=True, slots=True)
class Points:
    """Points of one metric, in the order of their rows."""

    metric: Metric
    tail: bytes
    """Attributes that all of them have beside their series'."""
    rows: Array
    """Positions."""
    start_unix_ns: Array
    time_unix_ns: Array
    values: Array
    """float64: doubles; int64: integers."""


def gauges(rows: Array, interval_ns: int) -> Iterator[Points]:
    """Yield what an interval says of itself, under its own time."""
    span = (rows["start_unix_ns"], rows["end_unix_ns"])
    duration_ns = rows["duration_ns"]
    is_root = rows["is_root"] != 0
    lasted = duration_ns > 0
    mean_w = rows["energy_uj"].astype(np.float64) * 1000 / np.maximum(duration_ns, 1)
    yield _some(table.POWER, lasted & is_root, span, mean_w)
    yield _some(table.DOMAIN_POWER, lasted & ~is_root, span, mean_w)
    share = rows["covered_ns"] / np.maximum(duration_ns, np.uint64(interval_ns))
    everywhere = np.ones(len(rows), bool)
    yield _some(table.COVERAGE, everywhere, span, share)
    yield _some(table.MIN, rows["min_mw"] != UNKNOWN_MIN, span, rows["min_mw"] / 1000)
    for name, unit, metric, tail in _GAUGES:
        yield _some(metric, rows[name] != UNKNOWN, span, rows[name] / unit, tail)
    for name, metric in (("refresh_us", table.REFRESH), ("averaging_us", table.AVERAGING)):
        yield _some(metric, rows[name] != 0, span, rows[name] / 1e6)


def sums(rows: Array, told: Told) -> Iterator[Points]:
    """Yield the running sums; a series that begins is opened with zeros."""
    state = told.state
    is_degraded = rows["is_suspect"] != 0
    for name in _HEAT_OR_BRAKE:
        is_degraded |= rows[name] != 0
    start = np.minimum(state["start_unix_ns"], rows["start_unix_ns"])
    span = (start, rows["end_unix_ns"])
    is_root = rows["is_root"] != 0
    yield _some(table.STATUS, is_root, span, (~is_degraded).astype(np.int64), _OK)
    yield _some(table.STATUS, is_root, span, is_degraded.astype(np.int64), _DEGRADED)
    for bit, (name, tail) in enumerate(zip(THROTTLED, _REASONS, strict=True)):
        is_known = (state["throttle_known"] >> bit & 1) != 0
        yield _opened(table.THROTTLED, is_known, told, state[name] / 1000, tail)
    answered = state["got"] + state["repeated"]
    outcomes = {
        "fresh": state["got"],
        "repeated": state["repeated"],
        "dropped": state["dropped"],
        "missed": np.maximum(state["expected"], answered) - answered,
    }
    polled = state["expected"] > 0
    for outcome, values in outcomes.items():
        yield _opened(table.POLLS, polled, told, values.astype(np.int64), _OUTCOMES[outcome])


def counters(rows: Iterable[Row], streams: DomainStreams) -> Iterator[Points]:
    """Yield the energies as the firmware's counters have them."""
    for metric, wanted in ((table.ENERGY, 1), (table.DOMAIN_ENERGY, 0)):
        found = [
            (at, *point)
            for at, row in enumerate(rows)
            if row.is_root == wanted
            for point in streams.points(row)
        ]
        if found:
            at, start, time, counter_uj = zip(*found, strict=True)
            values = np.array([each / UJ_PER_J for each in counter_uj])
            yield Points(metric, b"", np.array(at), np.array(start), np.array(time), values)


def _some(
    metric: Metric, mask: Array, span: tuple[Array, Array], values: Array, tail: bytes = b""
) -> Points:
    rows = np.flatnonzero(mask)
    start, end = span
    return Points(metric, tail, rows, start[rows], end[rows], values[rows])


def _opened(metric: Metric, mask: Array, told: Told, values: Array, tail: bytes) -> Points:
    """Return the points, and in front of the first of a series one of nothing."""
    rows = np.flatnonzero(mask)
    state = told.state
    times = 1 + told.is_new[rows]
    at = np.repeat(rows, times)
    is_opening = np.zeros(len(at), bool)
    is_opening[(np.cumsum(times) - times)[told.is_new[rows]]] = True
    start = state["start_unix_ns"][at]
    time = np.where(is_opening, start + NS_PER_MS, state["told_unix_ns"][at])
    return Points(metric, tail, at, start, time, np.where(is_opening, 0, values[at]))
