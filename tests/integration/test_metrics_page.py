"""A real collector process: what an agent sent stands on ``/metrics``, its own doing beside it."""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics import parser

from chipwatt.core.records import AgentHealth, Records
from fakes.agent_stream import send
from fakes.collector_process import Running, collector
from fakes.telemetry_records import a_host, a_sensor, minute

read: Callable[[str], Iterable[Any]] = parser.text_string_to_metric_families
HOST = a_host(1)
SETTINGS = """\
[privacy]
egress = "operator"  # for intervals of a second
[otlp]
start = "oldest"
interval = "1s"
settle = "0s"
[prometheus]
listen = "127.0.0.1:0"
"""
HEALTH = AgentHealth(300, 5_000, 2_000, 1_000, 3, 2, 0)
LONGEST_S = 60.0


def page(url: str, **headers: str) -> tuple[str, dict[str, str]]:
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read().decode(), {name.lower(): value for name, value in answer.getheaders()}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("collector")
    (folder / "collector.toml").write_text(SETTINGS)
    with collector(folder, "--config", str(folder / "collector.toml")) as one:
        health = Records(sensors=(a_sensor(),), agent=(HEALTH,))
        start_s = int(time.time()) // 60 * 60 - 60
        send(one.address, HOST, [*minute(start_s), health])
        yield one


@pytest.fixture(scope="module")
def url(running: Running) -> str:
    said = re.search(r"metrics are served.*address=(\S+)", running.log.read_text())
    assert said is not None
    return f"http://{said[1]}/metrics"


@pytest.fixture(scope="module")
def samples(url: str) -> dict[str, dict[str, float]]:
    """Samples by name and ``hw.id`` or outcome, once agent and hardware are told of."""
    deadline_s = time.monotonic() + LONGEST_S
    found: dict[str, dict[str, float]] = {}
    while time.monotonic() < deadline_s:
        text, headers = page(url, Accept="application/openmetrics-text; version=1.0.0")
        assert headers["content-type"].startswith("application/openmetrics-text")
        found = {}
        for family in read(text):
            for sample in family.samples:
                key = sample.labels.get("chipwatt_outcome", sample.labels.get("hw_id", ""))
                found.setdefault(sample.name, {})[key] = sample.value
        if {"hw_energy_joules_total", "chipwatt_agent_cpu_utilization_ratio"} <= found.keys():
            return found
        time.sleep(0.5)
    raise AssertionError(f"not everything is shown: {json.dumps(sorted(found))}")


def test_hardware_and_agent_and_collector_are_shown(samples: dict[str, dict[str, float]]) -> None:
    gpu = "gpu/GPU-11223344-5566-7788-99aa-bbccddeeff00/board"
    # The counter after the last window of the minute: 10^9 and 50 uJ.
    assert samples["hw_energy_joules_total"][gpu] == pytest.approx((10**9 + 50) / 1e6)
    assert samples["chipwatt_agent_cpu_utilization_ratio"] == {"": 0.005}
    assert samples["chipwatt_agent_deadlines_total"] == {"met": 997, "late": 3}
    assert samples["chipwatt_collector_batches_total"]["stored"] == 7
    assert samples["chipwatt_collector_commit_wait_seconds_count"][""] >= 1


def test_the_older_format_and_gzip_are_answered(
    url: str, samples: dict[str, dict[str, float]]
) -> None:
    text, headers = page(url)
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "# TYPE hw_energy_joules_total counter" in text
    assert samples
    with urllib.request.urlopen(
        urllib.request.Request(url, headers={"Accept-Encoding": "gzip"}), timeout=20
    ) as answer:
        assert answer.getheader("content-encoding") == "gzip"


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("POST", "/metrics", 405)]
)
def test_nothing_else_is_there(url: str, method: str, path: str, status: int) -> None:
    base = url.removesuffix("/metrics")
    request = urllib.request.Request(base + path, method=method)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)
    assert refused.value.code == status
    refused.value.close()


def test_what_is_no_http_disturbs_nobody(url: str, samples: dict[str, dict[str, float]]) -> None:
    host = url.removeprefix("http://").removesuffix("/metrics")
    connection = http.client.HTTPConnection(host, timeout=20)
    connection.connect()
    connection.sock.sendall(b"\x00\xff" * 1000 + b"\r\n\r\n")
    assert connection.sock.recv(12).startswith(b"HTTP/1.1 400")
    connection.close()
    assert samples
    assert page(url)[0]


def test_a_taken_address_is_told_in_one_sentence(
    running: Running, url: str, tmp_path: Path
) -> None:
    taken = url.removeprefix("http://").removesuffix("/metrics")
    config = tmp_path / "second.toml"
    config.write_text(SETTINGS.replace("127.0.0.1:0", taken))
    with (
        pytest.raises(AssertionError, match=f"prometheus.listen {taken}: Address already in use"),
        collector(tmp_path, "--config", str(config)),
    ):
        pass
    assert running.process.poll() is None
