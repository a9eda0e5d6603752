"""Intervals to OTLP requests; knows no network and no store.

Values are divided once, from the integer: a point carries the double nearest to the
exact number of joules or watts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby

import numpy as np
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Metric,
    ScopeMetrics,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from chipwatt.collector.otlp import semconv
from chipwatt.collector.otlp.gaps import GAP_ROW, GapRow, GapStreams
from chipwatt.collector.otlp.row import Row
from chipwatt.collector.otlp.streams import DomainStreams, HostStreams, Sample
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import Domain, GapReason, Interface, Method, Statistic
from chipwatt.core.tables import Array

MAX_POINTS = 5_000
"""Points a request: what receivers are known to take at once; with the longest
names that is still below the 4 MiB that they accept."""
_NO_GAPS: Array = np.empty(0, dtype=GAP_ROW)
_ROWS_AT_ONCE = 4096  # as Python values a row takes seven times its place in an array


@dataclass(frozen=True, slots=True)
class Request:
    """A request and how many points it holds."""

    message: ExportMetricsServiceRequest
    points: int


class Encoder:
    """Turns intervals into requests; keeps attributes and where streams began."""

    def __init__(self, interval_ns: int, *, version: str, namespace: str = "") -> None:
        self._version = version
        self._namespace = namespace
        self._hosts: list[tuple[str, str]] = []
        self._devices: list[DeviceId] = []
        self._resources: dict[int, Resource] = {}
        self._attributes: dict[tuple[int, ...], bytes] = {}
        self._domain_streams = DomainStreams(interval_ns)
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

    def requests(
        self, rows: Array, closed_unix_ns: int, gaps: Array = _NO_GAPS
    ) -> Iterator[Request]:
        """Yield the requests that carry ``rows`` and ``gaps``, added up and so ordered.

        Each is made when it is asked for, so memory holds one. A host's energy and its
        gaps are told as of ``closed_unix_ns``.
        """
        batch = _Batch(self._version)
        samples: Iterator[tuple[int, Iterator[Sample]]] = chain(
            (
                (host, self._samples(host, list(group), closed_unix_ns))
                for host, group in groupby(_values(rows), key=lambda row: row.host)
            ),
            (
                (host, self._gap_samples(group, closed_unix_ns))
                for host, group in groupby(
                    map(GapRow._make, gaps.tolist()), key=lambda row: row.host
                )
            ),
        )
        for host, of_host in samples:
            resource = self._resource(host)
            for sample in of_host:
                batch.add(host, resource, sample)
                if batch.points >= MAX_POINTS:
                    yield Request(batch.message, batch.points)
                    batch = _Batch(self._version)
        if batch.points:
            yield Request(batch.message, batch.points)

    def _samples(self, host: int, rows: list[Row], closed_unix_ns: int) -> Iterator[Sample]:
        for row in rows:
            yield from self._domain_streams.samples(row, self._domain_attributes(row))
        roots = [row for row in rows if row.is_root]
        yield from self._host_streams.samples(self._hosts[host][0], roots, closed_unix_ns)

    def _gap_samples(self, rows: Iterable[GapRow], closed_unix_ns: int) -> Iterator[Sample]:
        for row in rows:
            attributes = semconv.gap_attributes(
                self._devices[row.device],
                Domain(row.domain),
                Statistic(row.statistic),
                GapReason(row.reason),
            )
            yield from self._gap_streams.samples(row, attributes, closed_unix_ns)

    def _resource(self, host: int) -> Resource:
        if host not in self._resources:
            self._resources[host] = semconv.resource(
                *self._hosts[host], version=self._version, namespace=self._namespace
            )
        return self._resources[host]

    def _domain_attributes(self, row: Row) -> bytes:
        key = (row.device, row.domain, row.statistic, row.is_root, row.method, row.interface,
               row.is_filtered)  # fmt: skip
        if key not in self._attributes:
            self._attributes[key] = semconv.domain_attributes(
                self._devices[row.device],
                Domain(row.domain),
                Statistic(row.statistic),
                is_root=bool(row.is_root),
                method=Method(row.method),
                interface=Interface(row.interface),
                is_filtered=bool(row.is_filtered),
            )
        return self._attributes[key]


def _values(rows: Array) -> Iterator[Row]:
    for at in range(0, len(rows), _ROWS_AT_ONCE):
        yield from map(Row._make, rows[at : at + _ROWS_AT_ONCE].tolist())


class _Batch:
    """A request that grows: one resource a host, one metric a name."""

    def __init__(self, version: str) -> None:
        self.message = ExportMetricsServiceRequest()
        self.points = 0
        self._scope = InstrumentationScope(name=semconv.SERVICE_NAME, version=version)
        self._host = -1
        self._scope_metrics = ScopeMetrics()
        self._metrics: dict[str, Metric] = {}

    def add(self, host: int, resource: Resource, sample: Sample) -> None:
        """Add one point; a host's points come one after another."""
        if host != self._host:
            self._host = host
            resource_metrics = self.message.resource_metrics.add(resource=resource)
            self._scope_metrics = resource_metrics.scope_metrics.add(scope=self._scope)
            self._metrics = {}
        metric = self._metrics.get(sample.metric.name) or self._new_metric(sample.metric)
        point = (metric.sum if sample.metric.is_sum else metric.gauge).data_points.add()
        point.MergeFromString(sample.attributes)
        point.start_time_unix_nano = sample.start_unix_ns
        point.time_unix_nano = sample.time_unix_ns
        if isinstance(sample.value, int):
            point.as_int = sample.value
        else:
            point.as_double = sample.value
        self.points += 1

    def _new_metric(self, spec: semconv.MetricSpec) -> Metric:
        metric = self._scope_metrics.metrics.add(
            name=spec.name, unit=spec.unit, description=spec.description
        )
        if spec.is_sum:
            metric.sum.is_monotonic = True
            metric.sum.aggregation_temporality = (
                AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
            )
        self._metrics[spec.name] = metric
        return metric
