"""The collector's own instruments, on ``opentelemetry-sdk``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from chipwatt.collector.forecast.contract import Calibration
from chipwatt.collector.otlp.table import Instrument, Metric
from chipwatt.collector.telemetry import table
from chipwatt.collector.telemetry.commits import Commits
from chipwatt.collector.telemetry.messages import message
from chipwatt.v1.placement_pb2 import NodeKind
from chipwatt.v1.query_pb2 import GetCollectorStatusResponse

SCOPE = "chipwatt.collector"
SERVICE_NAME = "chipwatt-collector"
MAX_BUCKETS = 40
_Reader = Callable[[GetCollectorStatusResponse], float | int]
_Readings = tuple[tuple[Metric, str, _Reader], ...]

READINGS: Final[_Readings] = (
    (table.BATCHES, "stored", lambda status: status.batches_stored),
    (table.BATCHES, "duplicate", lambda status: status.duplicates_absorbed),
    (table.BATCHES, "conflict", lambda status: status.conflicts),
    (table.BATCHES, "refused", lambda status: status.refused),
    (table.RECORDS, "host_second", lambda status: status.host_seconds_stored),
    (table.RECORDS, "device_window", lambda status: status.device_windows_stored),
    (table.RECORDS, "gap", lambda status: status.gaps_stored),
    (table.STREAMS, "", lambda status: status.connected),
    (table.SHED, "", lambda status: status.streams_shed),
    (table.MISSING, "", lambda status: status.missing_batches),
    (table.STORE_SIZE, "", lambda status: status.store_bytes),
    (table.STORE_FAILURES, "", lambda status: status.store_failures),
    (table.HOLES, "", lambda status: status.ledger_holes),
    (table.EXPORT_POINTS, "sent", lambda status: status.otlp_points_sent),
    (table.EXPORT_POINTS, "rejected", lambda status: status.otlp_points_rejected),
    (table.EXPORT_LAG, "", lambda status: status.otlp_lag_ms / 1000),
)
"""What the collector's status answers, as (metric, value of its attribute, how to read it)."""


_HELD: Final[Mapping[Metric, Callable[[Calibration], float | int]]] = {
    table.FORECAST_COVERAGE: lambda one: one.coverage,
    table.FORECAST_PINBALL: lambda one: one.pinball,
    table.FORECAST_WINDOWS: lambda one: one.windows,
}


class CollectorMeter:
    """Instruments, and the messages that carry their values."""

    def __init__(
        self,
        status: Callable[[], GetCollectorStatusResponse],
        *,
        instance: str,
        version: str,
        unix_ns: Callable[[], int],
        calibrations: Callable[[], Sequence[Calibration]],
    ) -> None:
        """Count from what ``status`` says now; ``instance`` tells collectors apart."""
        self._status = status
        self._calibrations = calibrations
        self._first = self._now = status()
        self._reader = InMemoryMetricReader()
        resource = Resource(
            {
                "service.name": SERVICE_NAME,
                "service.version": version,
                "service.instance.id": instance,
            }
        )
        buckets = ExponentialBucketHistogramAggregation(max_size=MAX_BUCKETS)
        view = View(instrument_type=Histogram, aggregation=buckets)
        self._provider = MeterProvider(
            [self._reader], resource, shutdown_on_exit=False, views=[view]
        )
        self._meter = self._provider.get_meter(SCOPE, version)
        for metric in dict.fromkeys(metric for metric, _, _ in READINGS):
            self._observe(metric, lambda metric=metric: self._readings(metric))  # type: ignore[misc]
        for metric in table.OF_FORECAST:
            self._observe(metric, lambda metric=metric: self._held(metric))  # type: ignore[misc]
        wait, lag = (
            self._meter.create_histogram(metric.name, metric.unit, metric.meaning)
            for metric in (table.COMMIT_WAIT, table.INGEST_LAG)
        )
        self.commits = Commits(wait, lag, unix_ns)
        """To be told of what is stored."""

    def collect(self) -> ExportMetricsServiceRequest:
        """Return all values as they stand. Raises what ``status`` raises, StoreError."""
        self._now = self._status()
        data = self._reader.get_metrics_data()
        return ExportMetricsServiceRequest() if data is None else message(data)

    def close(self) -> None:
        """End the SDK's part."""
        self._provider.shutdown()

    def _observe(self, metric: Metric, read: Callable[[], Iterator[Observation]]) -> None:
        is_counter = metric.instrument is Instrument.COUNTER
        create = (
            self._meter.create_observable_counter
            if is_counter
            else self._meter.create_observable_gauge
        )

        def callback(_: CallbackOptions) -> Iterator[Observation]:
            yield from read()

        create(metric.name, [callback], metric.unit, metric.meaning)

    def _readings(self, metric: Metric) -> Iterator[Observation]:
        is_counter = metric.instrument is Instrument.COUNTER
        for read_metric, attribute, read in READINGS:
            if read_metric is metric:
                # The store counts since it was made, a sum of this process since it started.
                before = read(self._first) if is_counter else 0
                yield Observation(read(self._now) - before, _attributes(metric, attribute))

    def _held(self, metric: Metric) -> Iterator[Observation]:
        for one in self._calibrations():
            kind = NodeKind.Name(NodeKind.ValueType(one.kind)).removeprefix("NODE_KIND_").lower()
            values = (one.predictor.name.lower(), kind, f"{one.horizon_s}s", f"{one.quantile:g}")
            attributes = dict(zip(metric.attributes, values, strict=True))
            yield Observation(_HELD[metric](one), attributes)


def _attributes(metric: Metric, value: str) -> Mapping[str, str]:
    return {metric.attributes[0]: value} if value else {}
