"""The OpenTelemetry Collector: takes OTLP/gRPC, writes what it understood to a file."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2

from chipwatt.collector.otlp.table import Instrument, Metric
from chipwatt.collector.prometheus.naming import label_name
from interop.backend import Series, free_port, running, version_of

NS_PER_MS = 1_000_000
FLUSH_S = 1.2
"""It empties its buffer every second."""
_Found = tuple[dict[str, str], metrics_pb2.Metric]


@dataclass(frozen=True)
class Otelcol:
    """A collector; it is asked once it has everything."""

    endpoint: str
    version: str
    output: Path
    name: str = "otelcol"
    protocol: str = "grpc"

    def times_ms(self, metric: Metric) -> list[int]:
        """Return the times of a sum's points, in the order in which they came."""
        return [
            point.time_unix_nano // NS_PER_MS
            for _, found in self._metrics(metric)
            for point in found.sum.data_points
        ]

    def newest_ms(self, metric: Metric) -> int:
        """Return the newest time of a sum that has been written by now; 0 without one."""
        return max(Otelcol(self.endpoint, self.version, self.output).times_ms(metric), default=0)

    @cached_property
    def requests(self) -> list[ExportMetricsServiceRequest]:
        """What it has written."""
        size = -1
        while size != (size := self.output.stat().st_size if self.output.exists() else 0):
            time.sleep(FLUSH_S)
        lines = self.output.read_text().splitlines() if size else []
        return [json_format.Parse(line, ExportMetricsServiceRequest()) for line in lines]

    def series(self, metric: Metric) -> list[Series]:
        values: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for resource, found in self._metrics(metric):
            data = found.sum if metric.instrument is not Instrument.GAUGE else found.gauge
            for point in data.data_points:
                labels = resource | {
                    label_name(one.key): _text(one.value) for one in point.attributes
                }
                value = point.as_int if point.HasField("as_int") else point.as_double
                key = json.dumps(labels, sort_keys=True)
                values[key].append((point.time_unix_nano // NS_PER_MS, float(value)))
        return [Series(json.loads(key), tuple(sorted(points))) for key, points in values.items()]

    def histogram_points(self, metric: Metric) -> int:
        return sum(
            len(found.exponential_histogram.data_points) for _, found in self._metrics(metric)
        )

    def quantile_w(self, metric: Metric, quantile: float, hw_id: str, at_ms: int) -> float:
        newest = metrics_pb2.ExponentialHistogramDataPoint()
        for _, found in self._metrics(metric):
            for point in found.exponential_histogram.data_points:
                ids = [one.value.string_value for one in point.attributes if one.key == "hw.id"]
                is_newer = newest.time_unix_nano < point.time_unix_nano <= at_ms * NS_PER_MS
                if ids == [hw_id] and is_newer:
                    newest = point
        left = quantile * newest.count - newest.zero_count
        for index, count in enumerate(newest.positive.bucket_counts, newest.positive.offset):
            left -= count
            if left <= 0:
                return float(2.0 ** ((index + 1) / 2.0**newest.scale))
        raise AssertionError(f"no histogram of {hw_id}")

    def _metrics(self, metric: Metric) -> Iterator[_Found]:
        for request in self.requests:
            for resource_metrics in request.resource_metrics:
                labels = {
                    label_name(one.key): _text(one.value)
                    for one in resource_metrics.resource.attributes
                }
                for scope in resource_metrics.scope_metrics:
                    yield from ((labels, one) for one in scope.metrics if one.name == metric.name)


@contextmanager
def otelcol(binary: Path, folder: Path, port: int = 0) -> Iterator[Otelcol]:
    """Run it in ``folder``; what it takes is added to the file that is there."""
    port = port or free_port()
    output = folder / "taken.jsonl"
    config = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{port}"}}}},
        "exporters": {"file": {"path": str(output), "append": True, "flush_interval": "1s"}},
        "service": {
            "pipelines": {"metrics": {"receivers": ["otlp"], "exporters": ["file"]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
    }
    (folder / "otelcol.json").write_text(json.dumps(config))
    command = [str(binary), f"--config={folder / 'otelcol.json'}"]
    with running(command, folder / "otelcol.log", port):
        yield Otelcol(f"http://127.0.0.1:{port}", version_of([str(binary), "--version"]), output)


def _text(value: AnyValue) -> str:
    if value.WhichOneof("value") == "bool_value":
        return str(value.bool_value).lower()
    return value.string_value
