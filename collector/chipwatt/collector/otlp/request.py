"""Requests that grow point by point and stay below what receivers take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1 import metrics_pb2

from chipwatt.collector.otlp import semconv, wire
from chipwatt.collector.otlp.table import METRICS, Metric
from chipwatt.collector.otlp.workload_table import WORKLOAD_METRICS

MAX_POINTS: Final = 8_000
"""Points a request: receivers are known that lose what is above 8,192."""
MAX_BYTES: Final = 3 << 20
"""Bytes a request before compression; most receivers take 4 MiB."""
_AT_ONCE: Final = 400  # of the longest points these still fit into what MAX_BYTES leaves of 4 MiB
_HEADS: Final = {metric: wire.metric_head(metric) for metric in (*METRICS, *WORKLOAD_METRICS)}


@dataclass(frozen=True)
class Request:
    """A request as it is sent, and how many points it holds."""

    data: bytes
    points: int

    @cached_property
    def message(self) -> ExportMetricsServiceRequest:
        """The same, read back."""
        return ExportMetricsServiceRequest.FromString(self.data)

    def halves(self) -> tuple[Request, Request]:
        """Return two requests with about half of the points each; there are at least two."""
        message = ExportMetricsServiceRequest.FromString(self.data)
        keep = self.points // 2
        first, second = ExportMetricsServiceRequest(), ExportMetricsServiceRequest()
        seen = 0
        for of_resource in message.resource_metrics:
            for of_scope in of_resource.scope_metrics:
                for metric in of_scope.metrics:
                    found = len(points_of(metric))
                    cut = min(max(keep - seen, 0), found)
                    for half, part in ((first, slice(0, cut)), (second, slice(cut, found))):
                        if part.start < part.stop:
                            _put(half, of_resource, of_scope, metric, part)
                    seen += found
        return (
            Request(first.SerializeToString(), keep),
            Request(second.SerializeToString(), self.points - keep),
        )


class RequestWriter:
    """Takes points by host and metric; gives requests."""

    def __init__(self, version: str) -> None:
        self._scope = semconv.scope(version)
        self._hosts: list[bytes] = []
        self._resource = b""
        self._metrics: list[bytes] = []
        self._points = 0
        self._size = 0

    def add(self, resource: bytes, metric: Metric, points: Sequence[bytes]) -> Iterator[Request]:
        """Add points of one metric of one host; yield what is full."""
        if resource != self._resource:
            self._end_host()
            self._resource = resource
        at = 0
        while at < len(points):
            some = points[at : at + min(_AT_ONCE, MAX_POINTS - self._points)]
            at += len(some)
            written = wire.metric(_HEADS[metric], metric.instrument, some)
            self._metrics.append(written)
            self._points += len(some)
            self._size += len(written)
            if self._points >= MAX_POINTS or self._size >= MAX_BYTES:
                yield from self.rest()

    def rest(self) -> Iterator[Request]:
        """Yield what is left, if anything."""
        resource = self._resource
        self._end_host()
        if self._points:
            yield Request(b"".join(self._hosts), self._points)
        self._resource, self._hosts, self._points, self._size = resource, [], 0, 0

    def _end_host(self) -> None:
        if self._metrics:
            written = wire.resource_metrics(self._resource, self._scope, self._metrics)
            self._size += len(self._resource) + len(self._scope)
            self._hosts.append(written)
            self._metrics = []


def points_of(metric: metrics_pb2.Metric) -> Sequence[object]:
    """Return a metric's points, whatever kind of data it is."""
    kind = metric.WhichOneof("data")
    if kind is None:
        return ()
    points: Sequence[object] = getattr(metric, kind).data_points
    return points


def _put(
    half: ExportMetricsServiceRequest,
    of_resource: metrics_pb2.ResourceMetrics,
    of_scope: metrics_pb2.ScopeMetrics,
    metric: metrics_pb2.Metric,
    part: slice,
) -> None:
    """Append some points of ``metric``, under the resource and scope that they had."""
    last = half.resource_metrics[-1] if half.resource_metrics else None
    if last is None or last.resource != of_resource.resource:
        last = half.resource_metrics.add(resource=of_resource.resource)
        last.scope_metrics.add(scope=of_scope.scope)
    copy = last.scope_metrics[0].metrics.add()
    copy.CopyFrom(metric)
    kind = str(metric.WhichOneof("data"))
    points = getattr(copy, kind).data_points
    del points[part.stop :]
    del points[: part.start]
