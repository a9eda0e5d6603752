"""What a scrape is answered with: the newest points, written once for all who ask meanwhile."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from chipwatt.collector.prometheus.families import Families, Family
from chipwatt.collector.prometheus.text import OPEN_METRICS, PLAIN, rendered
from chipwatt.core.clock import NS_PER_S

FRESH_NS = NS_PER_S
"""How long a written answer serves further scrapes."""
_GZIP_LEVEL = 1


class Scrape:
    """Takes OTLP requests, gives pages; safe to use from any thread."""

    def __init__(self, max_series: int, unix_ns: Callable[[], int]) -> None:
        self._families = Families(max_series)
        self._unix_ns = unix_ns
        self._lock = threading.Lock()
        self._written: dict[tuple[bool, bool], tuple[int, bytes]] = {}

    def take(self, request: ExportMetricsServiceRequest) -> None:
        """Take the points of a request that are newer than what is there."""
        with self._lock:
            self._families.take(request)

    def page(self, *, is_open_metrics: bool, is_gzip: bool) -> bytes:
        """Return the answer to a scrape."""
        with self._lock:
            now_unix_ns, key = self._unix_ns(), (is_open_metrics, is_gzip)
            at_unix_ns, page = self._written.get(key, (0, b""))
            if not page or not 0 <= now_unix_ns - at_unix_ns < FRESH_NS:
                page = self._write(now_unix_ns, is_open_metrics=is_open_metrics)
                page = gzip.compress(page, _GZIP_LEVEL) if is_gzip else page
                self._written[key] = (now_unix_ns, page)
            return page

    def _write(self, now_unix_ns: int, *, is_open_metrics: bool) -> bytes:
        families = self._families
        families.forget(now_unix_ns)
        own = [
            _single("chipwatt_scrape_series", "Series shown.", families.count, now_unix_ns),
            _single(
                "chipwatt_scrape_points_left_out",
                "Points since the start that were not shown for want of room.",
                families.left_out,
                now_unix_ns,
            ),
        ]
        return rendered([*families, *own], is_open_metrics=is_open_metrics).encode()


def media_type(accept: str) -> tuple[str, bool]:
    """Return what an ``Accept`` header is answered with, and whether that is OpenMetrics."""
    is_open_metrics = "application/openmetrics-text" in accept
    return (OPEN_METRICS if is_open_metrics else PLAIN), is_open_metrics


def _single(name: str, meaning: str, value: int, time_ns: int) -> Family:
    return Family(name, "gauge", "", meaning, {"": (time_ns, value)})
