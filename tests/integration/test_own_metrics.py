"""A real collector process tells an OTLP receiver how it and its agents do."""

from __future__ import annotations

import time
from pathlib import Path

from opentelemetry.proto.metrics.v1.metrics_pb2 import ResourceMetrics

from chipwatt.core.records import AgentHealth, Records
from fakes.agent_stream import send
from fakes.collector_process import collector
from fakes.otlp_sink import OtlpSink
from fakes.telemetry_records import a_host, a_sensor, minute

HOST = a_host(1)
HEALTH = AgentHealth(300, 5_000, 2_000, 1_000, 3, 2, 0)
LONGEST_S = 60.0


def told(sink: OtlpSink) -> dict[str, ResourceMetrics]:
    """Return what has metrics of ours, by the instance it is of."""
    found = {}
    for request in sink.taken:
        for one in request.resource_metrics:
            attributes = {pair.key: pair.value.string_value for pair in one.resource.attributes}
            if one.scope_metrics[0].scope.name in ("chipwatt.agent", "chipwatt.collector"):
                found[attributes.get("host.id", "collector")] = one
    return found


def names(one: ResourceMetrics) -> set[str]:
    return {metric.name for metric in one.scope_metrics[0].metrics}


def told_by_a_collector(folder: Path, settings: str, hold_s: float) -> dict[str, ResourceMetrics]:
    with OtlpSink() as sink:
        config = folder / "collector.toml"
        config.write_text(
            f'{settings}\n[privacy]\negress = "operator"\n'
            f'[otlp]\nendpoint = "{sink.endpoint}"\nstart = "oldest"\n'
            'interval = "1s"\nsettle = "0s"\n'
        )
        with collector(folder, "--config", str(config)) as running:
            health = Records(sensors=(a_sensor(),), agent=(HEALTH,))
            send(running.address, HOST, [*minute(int(time.time()) // 60 * 60 - 60), health])
            sink.wait_for(1)
            deadline_s = time.monotonic() + hold_s
            while len(told(sink)) < 2 and time.monotonic() < deadline_s:
                time.sleep(0.2)
        return told(sink)


def test_collector_and_agent_are_told_of(tmp_path: Path) -> None:
    found = told_by_a_collector(tmp_path, "", LONGEST_S)
    assert found.keys() == {"collector", HOST.hex()}
    assert {"chipwatt.collector.batches", "chipwatt.collector.otlp.lag"} <= names(
        found["collector"]
    )
    assert {"chipwatt.agent.cpu.utilization", "chipwatt.agent.deadlines"} <= names(
        found[HOST.hex()]
    )


def test_who_does_not_want_it_gets_the_hardware_alone(tmp_path: Path) -> None:
    assert told_by_a_collector(tmp_path, "own_metrics = false", 3.0) == {}
