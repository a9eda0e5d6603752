"""Series: which sensor a row belongs to, what names its points, and the sums that run on.

Polls, throttled time and the histogram are sums of our own. They begin at 0 when the export
first sees the sensor, go on through counter epochs and restarts, and are told in the order in
which data comes: late data raises the next value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chipwatt.collector.otlp import semconv
from chipwatt.collector.otlp.row import POLLS, ROW, THROTTLED, Rows
from chipwatt.collector.otlp.windows import merge_histograms
from chipwatt.collector.otlp.wire import HISTOGRAM_ATTRIBUTE, delimited
from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.identity import DeviceId
from chipwatt.core.merge_columns import Groups
from chipwatt.core.model import Domain, Interface, Method, Statistic
from chipwatt.core.tables import Array

KEY = ("device", "domain", "statistic", "is_root", "method", "interface", "is_filtered")
_SUMMED = (*THROTTLED, *POLLS, "hist_zero_ms")
_RUNNING = np.dtype(
    [
        ("start_unix_ns", "<i8"),
        ("told_unix_ns", "<i8"),
        ("throttle_known", "<u1"),
        *((name, "<u8") for name in _SUMMED),
        ("hist_mw_ms", "<f8"),
        ("hist_scale", "<i1"),
        ("hist_offset", "<i4"),
    ]
)
_NO_COUNTS = np.empty(0, "<u8")


@dataclass(frozen=True, slots=True)
class Told:
    """The running sums of some rows, as they stand after each."""

    state: Array
    """A row of ``_RUNNING`` a row; ``told_unix_ns`` is the time of its point."""
    counts: list[Array]
    """Positive buckets of the histogram."""
    is_new: Array
    """Whether the series begins here."""


class Series:
    """Every series seen so far, by number."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, ...], int] = {}
        self.attributes: list[bytes] = []
        """By series: as they stand in a point that is a number."""
        self.histogram_attributes: list[bytes] = []
        self._running: Array = np.zeros(64, _RUNNING)
        self._counts: list[Array] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def state(self) -> dict[str, Array]:
        """Return the running sums as they stand."""
        counts = np.concatenate([_NO_COUNTS, *self._counts])
        return {
            "series": np.array(list(self._numbers), np.int64).reshape(-1, len(KEY)),
            "running": self._running[: len(self)],
            "bucket_counts": counts.astype(np.min_scalar_type(counts.max(initial=0))),
            "buckets": np.array([len(each) for each in self._counts], np.int64),
        }

    def restore(self, state: Mapping[str, Array], devices: Sequence[DeviceId]) -> None:
        """Go on from sums of an earlier process, before any row is told.

        Raises KeyError, ValueError or IndexError where they are of no such process.
        """
        running = state["running"]
        if running.dtype != _RUNNING:
            raise ValueError("of another version")
        for key in state["series"].tolist():
            self._number(tuple(key), devices)
        self._running = np.concatenate([running, np.zeros(64, _RUNNING)])
        ends = np.cumsum(state["buckets"])
        self._counts = [each.astype("<u8") for each in np.split(state["bucket_counts"], ends[:-1])][
            : len(self)
        ]

    def of(self, rows: Array, devices: Sequence[DeviceId]) -> Array:
        """Return the number of each row's series."""
        keys = zip(*(rows[name].tolist() for name in KEY), strict=True)
        return np.array([self._number(key, devices) for key in keys], np.int64)

    def tell(self, numbers: Array, rows: Rows) -> Told:
        """Add rows to the running sums of their series, one after the other."""
        while len(self._running) < len(self):
            self._running = np.concatenate([self._running, np.zeros_like(self._running)])
        state = np.empty(len(rows), _RUNNING)
        counts: list[Array] = [_NO_COUNTS] * len(rows)
        is_new = np.zeros(len(rows), bool)
        for wave in _waves(numbers):
            whose = numbers[wave]
            is_new[wave] = self._running["told_unix_ns"][whose] == 0
            state[wave], of_wave = self._add(whose, rows.take(wave), is_new[wave])
            self._running[whose] = state[wave]
            for row, number, buckets in zip(wave.tolist(), whose.tolist(), of_wave, strict=True):
                counts[row] = self._counts[number] = buckets
        return Told(state, counts, is_new)

    def _add(self, whose: Array, rows: Rows, is_new: Array) -> tuple[Array, list[Array]]:
        """Return what stands after one row of each of some different series."""
        array = rows.array
        state = self._running[whose]
        starts = array["start_unix_ns"]
        state["start_unix_ns"] = np.where(is_new, starts, state["start_unix_ns"])
        told = np.where(is_new, starts + NS_PER_MS, state["told_unix_ns"])
        state["told_unix_ns"] = np.maximum(array["end_unix_ns"], told + NS_PER_MS)
        state["throttle_known"] |= array["throttle_known"]
        for name in (*_SUMMED, "hist_mw_ms"):
            state[name] += array[name]
        before = np.zeros(len(whose), ROW)
        before["hist_scale"], before["hist_offset"] = state["hist_scale"], state["hist_offset"]
        known = [self._counts[number] for number in whose.tolist()]
        before["hist_buckets"] = [len(buckets) for buckets in known]
        both = Rows(np.concatenate([before, array]), np.concatenate([*known, rows.counts])).take(
            np.arange(2 * len(whose)).reshape(2, -1).T.ravel()
        )
        total = array.copy()
        groups = Groups(np.arange(0, 2 * len(whose), 2), 2 * len(whose))
        counts = merge_histograms(total, both, groups)
        state["hist_scale"], state["hist_offset"] = total["hist_scale"], total["hist_offset"]
        # Copies, or each series would keep the whole round's counts alive.
        ends = np.cumsum(total["hist_buckets"], dtype=np.int64).tolist()
        return state, [counts[a:b].copy() for a, b in zip([0, *ends[:-1]], ends, strict=True)]

    def _number(self, key: tuple[int, ...], devices: Sequence[DeviceId]) -> int:
        number = self._numbers.get(key)
        if number is None:
            named: Mapping[str, int] = dict(zip(KEY, key, strict=True))
            attributes = semconv.domain_attributes(
                devices[named["device"]],
                Domain(named["domain"]),
                Statistic(named["statistic"]),
                is_root=bool(named["is_root"]),
                method=Method(named["method"]),
                interface=Interface(named["interface"]),
                is_filtered=bool(named["is_filtered"]),
            )
            number = self._numbers[key] = len(self._numbers)
            self.attributes.append(semconv.of_number(attributes))
            of_histogram = (delimited(HISTOGRAM_ATTRIBUTE, one) for one in attributes)
            self.histogram_attributes.append(b"".join(of_histogram))
            self._counts.append(_NO_COUNTS)
        return number


def _waves(numbers: Array) -> list[Array]:
    """Return row positions such that no series is twice in one wave, each in the order of rows."""
    order = np.argsort(numbers, kind="stable")
    ranked = numbers[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = ranked[1:] != ranked[:-1]
    first = np.flatnonzero(is_first)
    rank = np.arange(len(order)) - np.repeat(first, np.diff(np.append(first, len(order))))
    return [np.sort(order[rank == n]) for n in range(int(rank.max()) + 1 if len(rank) else 0)]
