"""What the SDK's reader gives, as OTLP messages: sums, gauges and exponential histograms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.sdk.metrics.export import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Metric,
    MetricsData,
    NumberDataPoint,
    Sum,
)

_CUMULATIVE = metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE


def message(data: MetricsData) -> ExportMetricsServiceRequest:
    """Return a request with all of ``data``."""
    request = ExportMetricsServiceRequest()
    for of_resource in data.resource_metrics:
        resource_metrics = request.resource_metrics.add()
        resource_metrics.resource.attributes.extend(key_values(of_resource.resource.attributes))
        for of_scope in of_resource.scope_metrics:
            scope_metrics = resource_metrics.scope_metrics.add()
            scope_metrics.scope.name = of_scope.scope.name
            scope_metrics.scope.version = of_scope.scope.version or ""
            for metric in of_scope.metrics:
                _put(scope_metrics.metrics.add(), metric)
    return request


def key_values(attributes: Mapping[str, Any] | None) -> list[KeyValue]:
    """Return attributes whose values are text."""
    pairs = (attributes or {}).items()
    return [KeyValue(key=key, value=AnyValue(string_value=str(value))) for key, value in pairs]


def _put(out: metrics_pb2.Metric, metric: Metric) -> None:
    out.name, out.unit, out.description = metric.name, metric.unit or "", metric.description or ""
    data = metric.data
    if isinstance(data, Sum):
        out.sum.aggregation_temporality, out.sum.is_monotonic = _CUMULATIVE, data.is_monotonic
        for point in data.data_points:
            _number(out.sum.data_points.add(), point)
    elif isinstance(data, Gauge):
        for point in data.data_points:
            _number(out.gauge.data_points.add(), point)
    elif isinstance(data, ExponentialHistogram):
        out.exponential_histogram.aggregation_temporality = _CUMULATIVE
        for one in data.data_points:
            _histogram(out.exponential_histogram.data_points.add(), one)
    else:
        raise TypeError(f"{metric.name}: {type(data).__name__} is not among our instruments")


def _number(out: metrics_pb2.NumberDataPoint, point: NumberDataPoint) -> None:
    out.attributes.extend(key_values(point.attributes))
    out.start_time_unix_nano = point.start_time_unix_nano or 0
    out.time_unix_nano = point.time_unix_nano
    if isinstance(point.value, int):
        out.as_int = point.value
    else:
        out.as_double = point.value


def _histogram(
    out: metrics_pb2.ExponentialHistogramDataPoint, point: ExponentialHistogramDataPoint
) -> None:
    out.attributes.extend(key_values(point.attributes))
    out.start_time_unix_nano, out.time_unix_nano = point.start_time_unix_nano, point.time_unix_nano
    out.count, out.sum, out.scale = point.count, point.sum, point.scale
    out.zero_count = point.zero_count
    out.positive.offset = point.positive.offset
    out.positive.bucket_counts.extend(point.positive.bucket_counts)
