"""Prometheus 3: OTLP/HTTP receiver, native histograms, asked by PromQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from chipwatt.collector.otlp.table import Metric
from interop.backend import Series, free_port, get_json, prometheus_name, running
from interop.install import PROMETHEUS

WINDOW = "6h"
_CONFIG = """\
otlp:
  promote_resource_attributes: [host.id, host.name]
storage:
  tsdb:
    out_of_order_time_window: 2h
"""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running server."""

    base: str
    version: str
    name: str = "prometheus"
    protocol: str = "http/protobuf"

    @property
    def endpoint(self) -> str:
        return f"{self.base}/api/v1/otlp/v1/metrics"

    def query(self, expression: str) -> list[Any]:
        """Return the result of a query at this moment."""
        answer = get_json(f"{self.base}/api/v1/query?{urlencode({'query': expression})}")
        assert answer["status"] == "success", answer
        result: list[Any] = answer["data"]["result"]
        return result

    def ask(self, expression: str, at_ms: int) -> int:
        asked = urlencode({"query": expression, "time": at_ms / 1000})
        return len(get_json(f"{self.base}/api/v1/query?{asked}")["data"]["result"])

    def series(self, metric: Metric) -> list[Series]:
        return [
            Series(
                found["metric"],
                tuple((round(1000 * at_s), float(value)) for at_s, value in found["values"]),
            )
            for found in self.query(f"{prometheus_name(metric)}[{WINDOW}]")
        ]

    def histogram_points(self, metric: Metric) -> int:
        found = self.query(f"{prometheus_name(metric)}[{WINDOW}]")
        return sum(len(one["histograms"]) for one in found)

    def quantile_w(self, metric: Metric, quantile: float, hw_id: str, at_ms: int) -> float:
        selector = f'{prometheus_name(metric)}{{hw_id="{hw_id}"}}[{WINDOW}] @ {at_ms / 1000:.3f}'
        (found,) = self.query(f"histogram_quantile({quantile}, last_over_time({selector}))")
        return float(found["value"][1])


@contextmanager
def prometheus(binary: Path, folder: Path) -> Iterator[Prometheus]:
    """Run it in ``folder``."""
    port = free_port()
    (folder / "prometheus.yml").write_text(_CONFIG)
    command = [
        str(binary),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-otlp-receiver",
    ]
    with running(command, folder / "prometheus.log", port):
        yield Prometheus(f"http://127.0.0.1:{port}", PROMETHEUS.version)
