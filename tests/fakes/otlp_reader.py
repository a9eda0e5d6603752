"""A back end's view of OTLP metrics: series of points, and what a cumulative sum increased by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue


class Point(NamedTuple):
    """One point with all that names its series."""

    host: str
    metric: str
    attributes: tuple[tuple[str, str | bool], ...]
    start_unix_ns: int
    time_unix_ns: int
    value: float | int

    @property
    def hw_id(self) -> str:
        return str(dict(self.attributes)["hw.id"])


def points(requests: Iterable[ExportMetricsServiceRequest]) -> Iterator[Point]:
    """Yield every point in the order in which it came."""
    for request in requests:
        for resource_metrics in request.resource_metrics:
            host = dict(_plain(resource_metrics.resource.attributes))["host.id"]
            for scope_metrics in resource_metrics.scope_metrics:
                for metric in scope_metrics.metrics:
                    kind = metric.WhichOneof("data")
                    if kind == "exponential_histogram":
                        continue
                    assert kind in ("sum", "gauge")
                    if kind == "sum":
                        assert metric.sum.is_monotonic == (metric.name != "hw.status")
                        assert metric.sum.aggregation_temporality == 2
                    for point in (metric.sum if kind == "sum" else metric.gauge).data_points:
                        value = point.as_int if point.HasField("as_int") else point.as_double
                        yield Point(
                            str(host),
                            metric.name,
                            tuple(sorted(_plain(point.attributes))),
                            point.start_time_unix_nano,
                            point.time_unix_nano,
                            value,
                        )


def increases(
    requests: Iterable[ExportMetricsServiceRequest], metric: str
) -> dict[tuple[str, str], Fraction]:
    """Return by (host, hw.id) what a sum increased by, as OTLP's data model reads it.

    A stream is what shares a start. Its point of no duration, where there is one, is
    where it began; else it began at 0. Points that came twice count once.
    """
    streams: dict[tuple[str, str, int], dict[int, float]] = defaultdict(dict)
    for point in points(requests):
        if point.metric == metric:
            assert point.time_unix_ns >= point.start_unix_ns
            stream = streams[(point.host, point.hw_id, point.start_unix_ns)]
            assert stream.setdefault(point.time_unix_ns, point.value) == point.value
    total: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for (host, hw_id, start_unix_ns), stream in streams.items():
        values = [stream[time] for time in sorted(stream)]
        assert values == sorted(values), "a monotonic sum fell"
        total[(host, hw_id)] += Fraction(values[-1]) - Fraction(stream.get(start_unix_ns, 0))
    return dict(total)


def _plain(attributes: Iterable[KeyValue]) -> Iterator[tuple[str, str | bool]]:
    for attribute in attributes:
        kind = attribute.value.WhichOneof("value")
        assert kind in ("string_value", "bool_value")
        value = attribute.value.bool_value if kind == "bool_value" else attribute.value.string_value
        yield attribute.key, value
