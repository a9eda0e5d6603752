"""What a back end of the tests does: starts, takes OTLP, and is asked through its own API."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from chipwatt.collector.otlp.table import Instrument, Metric
from chipwatt.collector.prometheus.naming import metric_name

START_S = 30.0


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one metric that share their attributes, in the order of time."""

    labels: Mapping[str, str]
    """By Prometheus' names (``hw_id``, ``host_id``), wherever they come from."""
    values: tuple[tuple[int, float], ...]
    """(ms since 1970, value)."""


class Backend(Protocol):
    """A running back end."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Return which one was built; Go programs built from a module do not say."""
        ...

    @property
    def endpoint(self) -> str:
        """Return where it takes OTLP."""
        ...

    @property
    def protocol(self) -> str:
        """Return "grpc" or "http/protobuf"."""
        ...

    def series(self, metric: Metric) -> list[Series]:
        """Return every series of a metric with all its points."""
        ...

    def histogram_points(self, metric: Metric) -> int:
        """Return how many points of a histogram there are."""
        ...

    def quantile_w(self, metric: Metric, quantile: float, hw_id: str, at_ms: int) -> float:
        """Return a quantile of one component's histogram, as the back end works it out."""
        ...


def free_port() -> int:
    """Return a port of loopback that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[str], log: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program inside the block, once it listens; raises AssertionError where it does not."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=log.parent)
    try:
        deadline_s = time.monotonic() + START_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise AssertionError(f"{command[0]} did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def get(url: str) -> str:
    """Return what a URL answers; raises AssertionError with the body of an error."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            body: bytes = answer.read()
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{url}: {error.code} {error.read()[:500]!r}") from None
    return body.decode()


def get_json(url: str) -> Any:
    """Return the JSON that a URL answers."""
    return json.loads(get(url))


def version_of(command: Sequence[str]) -> str:
    """Return the first word with digits and dots that a program says of its version."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    words = (done.stdout + done.stderr).replace("-", " ").split()
    return next(word.removeprefix("v") for word in words if word.removeprefix("v")[:1].isdigit())


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
    except OSError:
        return False
    return True


def prometheus_name(metric: Metric) -> str:
    """Return what Prometheus' translation of OTLP names makes of a metric."""
    return metric_name(
        metric.name,
        metric.unit,
        is_gauge=metric.instrument is Instrument.GAUGE,
        is_counter=metric.instrument is Instrument.COUNTER,
    )
