"""The newest point of every series, taken from OTLP messages, bounded in number and age."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2

from chipwatt.collector.prometheus.classic import SECONDS, WATTS, Classic, explicit, exponential
from chipwatt.collector.prometheus.naming import label_name, metric_name, unit_of
from chipwatt.core.clock import NS_PER_S

GAUGE_KEPT_NS = 300 * NS_PER_S
"""What was so five minutes ago is no longer shown as if it were so now."""
SUM_KEPT_NS = 3600 * NS_PER_S
"""A sum that does not grow gives no points, so it stays for longer."""
SHOWN_RESOURCE = frozenset({"host.id", "host.name"})
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(slots=True)
class Family:
    """A metric with all its series."""

    name: str
    """Without ``_total``."""
    kind: str
    """As OpenMetrics has it: counter, gauge or histogram."""
    unit: str
    meaning: str
    series: dict[str, tuple[int, float | int | Classic]] = field(default_factory=dict)
    """(ns since 1970, value) by labels, as they are written between braces."""


class Families:
    """Grows by messages; not safe to use from two threads at once."""

    def __init__(self, max_series: int) -> None:
        self._max_series = max_series
        self._families: dict[str, Family] = {}
        self.count = 0
        """Series, each bucket of a histogram counted."""
        self.left_out = 0
        """Points that did not find room."""

    def __iter__(self) -> Iterator[Family]:
        return iter(self._families.values())

    def take(self, request: ExportMetricsServiceRequest) -> None:
        """Take every point that is newer than what is there."""
        for resource_metrics in request.resource_metrics:
            shown = (
                one for one in resource_metrics.resource.attributes if one.key in SHOWN_RESOURCE
            )
            resource = labels_of(shown)
            for scope in resource_metrics.scope_metrics:
                for metric in scope.metrics:
                    self._take_metric(metric, resource)

    def forget(self, now_unix_ns: int) -> None:
        """Drop what is too old to be shown."""
        for family in self._families.values():
            kept_ns = GAUGE_KEPT_NS if family.kind == "gauge" else SUM_KEPT_NS
            old = [
                labels
                for labels, (time_ns, _) in family.series.items()
                if time_ns < now_unix_ns - kept_ns
            ]
            for labels in old:
                self.count -= _size(family.series.pop(labels)[1])

    def _take_metric(self, metric: metrics_pb2.Metric, resource: str) -> None:
        family = self._family(metric)
        if family.kind == "histogram":
            data = metric.exponential_histogram.data_points or metric.histogram.data_points
            steps = SECONDS if metric.unit == "s" else WATTS
            for point in data:
                value = (
                    explicit(point)
                    if isinstance(point, metrics_pb2.HistogramDataPoint)
                    else exponential(point, steps)
                )
                self._keep(family, point.time_unix_nano, _join(resource, point.attributes), value)
            return
        for number in metric.sum.data_points or metric.gauge.data_points:
            value_of = number.as_int if number.HasField("as_int") else number.as_double
            labels = _join(resource, number.attributes)
            self._keep(family, number.time_unix_nano, labels, value_of)

    def _keep(self, family: Family, time_ns: int, labels: str, value: float | Classic) -> None:
        before = family.series.get(labels)
        if before is None:
            size = _size(value)
            if self.count + size > self._max_series:
                self.left_out += 1
                return
            self.count += size
        elif before[0] > time_ns:
            return
        family.series[labels] = (time_ns, value)

    def _family(self, metric: metrics_pb2.Metric) -> Family:
        family = self._families.get(metric.name)
        if family is None:
            data = metric.WhichOneof("data")
            is_counter = data == "sum" and metric.sum.is_monotonic
            is_gauge = data == "gauge"
            kind = "counter" if is_counter else "histogram"
            if data in ("gauge", "sum") and not is_counter:
                kind = "gauge"
            name = metric_name(metric.name, metric.unit, is_gauge=is_gauge)
            unit = unit_of(metric.unit, is_gauge=is_gauge)
            # OpenMetrics wants the unit at the end of the name, or none said.
            unit = unit if name.endswith(f"_{unit}") else ""
            family = self._families[metric.name] = Family(name, kind, unit, metric.description)
        return family


def labels_of(attributes: Iterable[KeyValue]) -> str:
    """Return attributes as they stand between braces, by name."""
    pairs = sorted((label_name(one.key), _text(one)) for one in attributes)
    return ",".join(f'{name}="{text.translate(_ESCAPES)}"' for name, text in pairs)


def _join(resource: str, attributes: Iterable[KeyValue]) -> str:
    own = labels_of(attributes)
    return f"{resource},{own}" if resource and own else resource or own


def _text(attribute: KeyValue) -> str:
    kind = attribute.value.WhichOneof("value")
    if kind == "bool_value":
        return str(attribute.value.bool_value).lower()
    return str(getattr(attribute.value, kind)) if kind else ""


def _size(value: float | Classic) -> int:
    return value.size if isinstance(value, Classic) else 1
