"""VictoriaMetrics: OTLP/HTTP, read back by its export API and MetricsQL."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from chipwatt.collector.otlp.table import Instrument, Metric
from interop.backend import Series, free_port, get, get_json, prometheus_name, running
from interop.install import VICTORIA_METRICS


@dataclass(frozen=True, slots=True)
class VictoriaMetrics:
    """A running single node."""

    base: str
    version: str
    name: str = "victoria-metrics"
    protocol: str = "http/protobuf"

    @property
    def endpoint(self) -> str:
        return f"{self.base}/opentelemetry/v1/metrics"

    def query(self, expression: str, at_ms: int) -> list[Any]:
        """Return the result of a query at a moment."""
        get(f"{self.base}/internal/force_flush")
        asked = urlencode({"query": expression, "time": at_ms / 1000, "nocache": 1})
        result: list[Any] = get_json(f"{self.base}/api/v1/query?{asked}")["data"]["result"]
        return result

    def ask(self, expression: str, at_ms: int) -> int:
        return len(self.query(expression, at_ms))

    def series(self, metric: Metric) -> list[Series]:
        name = prometheus_name(metric)
        if metric.instrument is Instrument.UP_DOWN_COUNTER and metric.unit == "1":
            name += "_ratio"  # it takes a sum that may fall for a gauge; Prometheus does not
        return self._export(name)

    def histogram_points(self, metric: Metric) -> int:
        return sum(len(one.values) for one in self._export(f"{prometheus_name(metric)}_count"))

    def quantile_w(self, metric: Metric, quantile: float, hw_id: str, at_ms: int) -> float:
        buckets = f'{prometheus_name(metric)}_bucket{{hw_id="{hw_id}"}}[6h]'
        summed = f"sum(last_over_time({buckets})) by (vmrange)"
        (found,) = self.query(f"histogram_quantile({quantile}, {summed})", at_ms)
        return float(found["value"][1])

    def _export(self, name: str) -> list[Series]:
        get(f"{self.base}/internal/force_flush")
        asked = urlencode({"match[]": name, "start": time.time() - 6 * 3600})
        found = []
        for line in get(f"{self.base}/api/v1/export?{asked}").splitlines():
            one = json.loads(line)
            points = sorted(zip(one["timestamps"], one["values"], strict=True))
            found.append(Series(one["metric"], tuple(points)))
        return found


@contextmanager
def victoria_metrics(binary: Path, folder: Path) -> Iterator[VictoriaMetrics]:
    """Run it in ``folder``."""
    port = free_port()
    command = [
        str(binary),
        f"-storageDataPath={folder / 'data'}",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-opentelemetry.usePrometheusNaming",
        "-search.latencyOffset=0s",
        "-memory.allowedBytes=256MiB",
    ]
    with running(command, folder / "victoria-metrics.log", port):
        yield VictoriaMetrics(f"http://127.0.0.1:{port}", VICTORIA_METRICS.version)
