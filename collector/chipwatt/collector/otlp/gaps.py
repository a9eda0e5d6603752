"""Gaps on their way out: energy that nobody can know, added up by sensor and reason.

Sums that only grow, since the exporter first saw a gap of the sensor and reason: a
back end that misses a point loses nothing, and ``upper - lower`` is how much of an
energy that it reports is uncertain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Final, NamedTuple

import numpy as np

from chipwatt.collector.otlp.row import Rows, empty
from chipwatt.collector.otlp.streams import UJ_PER_J, Sample
from chipwatt.collector.otlp.table import GAP_COUNT, GAP_DURATION, GAP_LOWER, GAP_UPPER, Metric
from chipwatt.collector.store.contract import Block
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.columns import SectionKind
from chipwatt.core.tables import Array


class GapRow(NamedTuple):
    """What the gaps of one line, reason and interval add up to."""

    host: int
    device: int
    domain: int
    statistic: int
    reason: int
    slot: int
    start_unix_ns: int
    lower_uj: int
    upper_uj: int
    duration_ns: int
    gaps: int
    position: int
    """The first block that had part in it."""


_KEY: Final = ("host", "device", "domain", "statistic", "reason", "slot")
_SAME: Final = ("domain", "statistic", "reason", "start_unix_ns", "lower_uj", "upper_uj",
                "duration_ns")  # fmt: skip
_ADDED: Final = ("lower_uj", "upper_uj", "duration_ns", "gaps")
_U1 = ("domain", "statistic", "reason")
_I8 = ("slot", "start_unix_ns", "position")
_WIDTHS = dict.fromkeys(_U1, "<u1") | dict.fromkeys(_I8, "<i8") | {"host": "<i4", "device": "<i4"}
GAP_ROW: Final = np.dtype([(name, _WIDTHS.get(name, "<u8")) for name in GapRow._fields])


def gaps_of(block: Block, interval_ns: int) -> Rows:
    """Return a row a gap of ``block``; none where it holds something else."""
    table = block.table
    if block.kind is not SectionKind.GAP or not table.rows:
        return empty(GAP_ROW)
    rows = np.empty(table.rows, dtype=GAP_ROW)
    for name in _SAME:
        rows[name] = table[name]
    rows["host"], rows["device"] = block.hosts, block.devices
    rows["slot"] = rows["start_unix_ns"] // interval_ns
    rows["gaps"] = 1
    rows["position"] = block.position
    return Rows(rows, empty().counts)


def add_gaps_up(gaps: Rows) -> Rows:
    """Return one row a (host, device, domain, statistic, reason, interval), in that order."""
    if not len(gaps):
        return gaps
    rows = gaps.array[np.lexsort([gaps.array[name] for name in reversed(_KEY)])]
    is_first = np.ones(len(rows), dtype=bool)
    is_first[1:] = np.any([rows[name][1:] != rows[name][:-1] for name in _KEY], axis=0)
    first = np.flatnonzero(is_first)
    total: Array = rows[first]
    for name in _ADDED:
        total[name] = np.add.reduceat(rows[name], first)
    for name in ("start_unix_ns", "position"):
        total[name] = np.minimum.reduceat(rows[name], first)
    return Rows(total, gaps.counts)


@dataclass(slots=True)
class _Sums:
    """Everything since the stream began."""

    start_unix_ns: int
    time_unix_ns: int
    lower_uj: int = 0
    upper_uj: int = 0
    duration_ns: int = 0
    gaps: int = 0


class GapStreams:
    """Points of gaps, as of the time at which they are told."""

    def __init__(self) -> None:
        self._sums: dict[tuple[int, int, int, int], _Sums] = {}

    def state(self) -> dict[str, Array]:
        """Return the sums as they stand."""
        sums = [astuple(each) for each in self._sums.values()]
        return {
            "gap_keys": np.array(list(self._sums), np.int64).reshape(-1, 4),
            "gap_sums": np.array(sums, np.int64).reshape(-1, 6),
        }

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on from sums of an earlier process. Raises KeyError, ValueError."""
        keys, sums = (state[name].tolist() for name in ("gap_keys", "gap_sums"))
        for key, each in zip(keys, sums, strict=True):
            self._sums[tuple(key)] = _Sums(*each)

    def samples(self, row: GapRow, attributes: bytes, closed_unix_ns: int) -> Iterator[Sample]:
        """Yield what one interval's gaps of one line and reason give."""
        key = (row.device, row.domain, row.statistic, row.reason)
        sums = self._sums.get(key)
        if sums is None:
            sums = self._sums[key] = _Sums(row.start_unix_ns, row.start_unix_ns + NS_PER_MS)
            yield from _points(sums, attributes)
        sums.lower_uj += row.lower_uj
        sums.upper_uj += row.upper_uj
        sums.duration_ns += row.duration_ns
        sums.gaps += row.gaps
        sums.time_unix_ns = max(closed_unix_ns, sums.time_unix_ns + NS_PER_MS)
        yield from _points(sums, attributes)


def _points(sums: _Sums, attributes: bytes) -> Iterator[Sample]:
    values: tuple[tuple[Metric, float | int], ...] = (
        (GAP_LOWER, sums.lower_uj / UJ_PER_J),
        (GAP_UPPER, sums.upper_uj / UJ_PER_J),
        (GAP_DURATION, sums.duration_ns / NS_PER_S),
        (GAP_COUNT, sums.gaps),
    )
    for metric, value in values:
        yield Sample(metric, attributes, sums.start_unix_ns, sums.time_unix_ns, value)
