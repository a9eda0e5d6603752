"""Intervals to OTLP requests; knows no network and no store.

Whole columns at a time: a few dozen hosts become arrays of points, these become bytes, and
only then are they sorted under their hosts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

import numpy as np

from chipwatt.collector.egress.config import Tier
from chipwatt.collector.otlp import points, semconv, wire
from chipwatt.collector.otlp.gaps import GAP_ROW, GapRow, GapStreams
from chipwatt.collector.otlp.request import Request, RequestWriter
from chipwatt.collector.otlp.row import Row, Rows, empty
from chipwatt.collector.otlp.series import Series, Told
from chipwatt.collector.otlp.shielded import Shield
from chipwatt.collector.otlp.stream_book import Began
from chipwatt.collector.otlp.streams import DomainStreams, HostStreams, Sample
from chipwatt.collector.otlp.table import PROFILE, Metric
from chipwatt.collector.otlp.windows import COARSEST_SCALE
from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import Domain, GapReason, Statistic
from chipwatt.core.tables import Array

_ROWS_AT_ONCE: Final = 512
"""More cost memory, fewer cost time: a column of a metric is made for so many."""
_Column = tuple[Metric, Array, list[bytes]]
"""Points of a metric in wire form, and the row of each."""


class Encoder:
    """Turns intervals into requests; keeps attributes and where streams began."""

    def __init__(
        self,
        interval_ns: int,
        *,
        version: str,
        namespace: str = "",
        tier: Tier = Tier.CONFIDENTIAL,
    ) -> None:
        """Take the settings; ``tier`` is whom the points are for."""
        self._interval_ns = interval_ns
        self._version = version
        self._namespace = namespace
        self._tier = tier
        self._hosts: list[tuple[str, str]] = []
        self._devices: list[DeviceId] = []
        self._resources: dict[int, bytes] = {}
        self._series = Series()
        self.streams = DomainStreams()
        """Of counters: what a successor must know of."""
        self._shield = None if tier is Tier.OPERATOR else Shield(self.streams)
        self._host_streams = HostStreams()
        self._gap_streams = GapStreams()

    def learn(
        self,
        hosts: Sequence[bytes],
        names: Mapping[bytes, str],
        devices: Iterable[tuple[bytes, DeviceId]],
    ) -> None:
        """Take over the store's dictionaries, which only grow, and the hosts' names."""
        known = [(host.hex(), names.get(host) or host.hex()) for host in hosts]
        if known != self._hosts:
            self._hosts = known
            self._resources.clear()
        self._devices = [device for _, device in devices]

    def state(self) -> dict[str, Array]:
        """Return the running sums as they stand."""
        return {
            **self._series.state(),
            **self._host_streams.state(),
            **self._gap_streams.state(),
            **(self._shield.state() if self._shield else {}),
            "interval_ns": np.array(self._interval_ns),
        }

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on from sums of an earlier process, once the dictionaries are known.

        Raises KeyError, ValueError or IndexError where they are of no such process.
        """
        self._series.restore(state, self._devices)
        is_same_interval = int(state["interval_ns"]) == self._interval_ns
        self._host_streams.restore(state, is_same_interval=is_same_interval)
        self._gap_streams.restore(state)
        if self._shield is not None:
            self._shield.restore(state)

    def take_up(self, began: Sequence[Began]) -> None:
        """Go on with the streams of an earlier process, after ``restore`` where there are sums."""
        self.streams.restore(began)
        if self._shield is not None:
            self._shield.take_up(stream.device for stream in began)

    def requests(
        self, rows: Rows, closed_unix_ns: int, gaps: Rows | None = None
    ) -> Iterator[Request]:
        """Yield the requests that carry ``rows`` and ``gaps``, added up and so ordered.

        Each is made when it is asked for, so memory holds one. A host's energy and its
        gaps are told as of ``closed_unix_ns``.
        """
        gaps = gaps or empty(GAP_ROW)
        if self._shield is not None:
            rows, gaps = self._shield.rows(rows), self._shield.gaps(gaps)
        writer = RequestWriter(self._version)
        for host, metric, of_host in self._points(rows, closed_unix_ns):
            yield from writer.add(self._resource(host), metric, of_host)
        told = map(GapRow._make, gaps.array.tolist())
        for host, of_gaps in groupby(told, key=lambda row: row.host):
            samples = [s for row in of_gaps for s in self._gap_samples(row, closed_unix_ns)]
            for metric, of_host in _by_metric(samples):
                yield from writer.add(self._resource(host), metric, of_host)
        yield from writer.rest()

    def _points(self, rows: Rows, closed_unix_ns: int) -> Iterator[tuple[int, Metric, list[bytes]]]:
        for part in _parts(rows):
            values = list(map(Row._make, part.array[list(Row._fields)].tolist()))
            columns = self._columns(part, values)
            hosts = part.array["host"]
            first = np.flatnonzero(np.append(True, hosts[1:] != hosts[:-1]))
            ends = [*first[1:].tolist(), len(part)]
            cuts = [np.searchsorted(at, [*first, len(part)]).tolist() for _, at, _ in columns]
            for number, (begin, end) in enumerate(zip(first.tolist(), ends, strict=True)):
                host = values[begin].host
                for (metric, _, encoded), cut in zip(columns, cuts, strict=True):
                    if cut[number] < cut[number + 1]:
                        yield host, metric, encoded[cut[number] : cut[number + 1]]
                roots = [row for row in values[begin:end] if row.is_root]
                host_id = self._hosts[host][0]
                samples = self._host_streams.samples(host_id, roots, closed_unix_ns)
                for metric, encoded in _by_metric(samples):
                    yield host, metric, encoded

    def _columns(self, rows: Rows, values: Sequence[Row]) -> list[_Column]:
        array = rows.array
        numbers = self._series.of(array, self._devices)
        told = self._series.tell(numbers, rows)
        named = [self._series.attributes[number] for number in numbers.tolist()]
        found = [
            *points.counters(values, self.streams),
            *points.gauges(array, self._interval_ns),
            *points.sums(array, told),
        ]
        columns: list[_Column] = []
        for one in found:
            owners = [named[at] for at in one.rows.tolist()]
            encoded = wire.numbers(
                owners, one.tail, one.start_unix_ns, one.time_unix_ns, one.values
            )
            columns.append((one.metric, one.rows, encoded))
        columns.append(self._histograms(numbers, told))
        return _joined(columns)

    def _histograms(self, numbers: Array, told: Told) -> _Column:
        state = told.state
        lengths = np.array([len(counts) for counts in told.counts], np.int64)
        flat = np.concatenate(told.counts)
        packed = wire.varints(flat, lengths)
        bounds = np.concatenate([[0], np.cumsum(flat)])
        ends = np.cumsum(lengths)
        total_ms = state["hist_zero_ms"] + (bounds[ends] - bounds[ends - lengths]).astype("<u8")
        is_told = (total_ms > 0) & (state["hist_scale"] >= COARSEST_SCALE)
        at: list[int] = []
        encoded: list[bytes] = []
        fields = ("start_unix_ns", "told_unix_ns", "hist_scale", "hist_offset", "hist_zero_ms",
                  "hist_mw_ms")  # fmt: skip
        columns = (state[name][is_told].tolist() for name in fields)
        wanted = np.flatnonzero(is_told).tolist()
        owners, totals = numbers[is_told].tolist(), total_ms[is_told].tolist()
        for row, number, total, start, time, scale, offset, zero_ms, mw_ms in zip(
            wanted, owners, totals, *columns, strict=True
        ):
            named = self._series.histogram_attributes[number]
            if told.is_new[row]:
                opens = start + NS_PER_MS
                nothing = wire.Distribution(scale, 0, 0, 0, 0.0, b"")
                at.append(row)
                encoded.append(wire.histogram(named, start, opens, nothing))
            at.append(row)
            told_here = wire.Distribution(scale, offset, zero_ms, total, mw_ms / 1000, packed[row])
            encoded.append(wire.histogram(named, start, time, told_here))
        return PROFILE, np.array(at, np.int64), encoded

    def _gap_samples(self, row: GapRow, closed_unix_ns: int) -> Iterator[Sample]:
        attributes = semconv.gap_attributes(
            self._devices[row.device],
            Domain(row.domain),
            Statistic(row.statistic),
            GapReason(row.reason),
        )
        return self._gap_streams.samples(row, attributes, closed_unix_ns)

    def _resource(self, host: int) -> bytes:
        if host not in self._resources:
            self._resources[host] = semconv.resource(
                *self._hosts[host],
                version=self._version,
                namespace=self._namespace,
                tier=self._tier,
            )
        return self._resources[host]


def _parts(rows: Rows) -> Iterator[Rows]:
    """Yield some rows at a time, a host's never apart: its power is a sum over all of them."""
    hosts = rows.array["host"]
    begin = 0
    while begin < len(rows):
        end = begin + _ROWS_AT_ONCE
        if end < len(rows):
            last = hosts[end]
            end = int(np.searchsorted(hosts, last))
            if end <= begin:
                end = int(np.searchsorted(hosts, last, side="right"))
        end = min(end, len(rows))
        yield rows.take(np.arange(begin, end))
        begin = end


def _joined(columns: Iterable[_Column]) -> list[_Column]:
    """Return one column a metric, so that a host's points of it stand in one place."""
    by_metric: dict[Metric, list[_Column]] = {}
    for column in columns:
        if len(column[1]):
            by_metric.setdefault(column[0], []).append(column)
    joined: list[_Column] = []
    for metric, parts in by_metric.items():
        if len(parts) == 1:
            joined.append(parts[0])
            continue
        at = np.concatenate([rows for _, rows, _ in parts])
        encoded = [one for _, _, of_part in parts for one in of_part]
        order = np.argsort(at, kind="stable")
        joined.append((metric, at[order], [encoded[place] for place in order.tolist()]))
    return joined


def _by_metric(samples: Iterable[Sample]) -> Iterator[tuple[Metric, list[bytes]]]:
    by_metric: dict[Metric, list[bytes]] = {}
    for sample in samples:
        encoded = wire.number(
            sample.attributes, sample.start_unix_ns, sample.time_unix_ns, sample.value
        )
        by_metric.setdefault(sample.metric, []).append(encoded)
    yield from by_metric.items()
