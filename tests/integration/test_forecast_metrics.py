"""A real collector with a topology tells an OTLP receiver how its forecasts have held."""

from __future__ import annotations

import time
from pathlib import Path

from opentelemetry.proto.metrics.v1.metrics_pb2 import NumberDataPoint

from chipwatt.collector.telemetry import table
from fakes.collector_process import collector
from fakes.otlp_sink import OtlpSink
from integration.test_placement_process import Agents, topology, until

HISTORY_S = 600
KINDS = {"site", "rack", "host"}
CLASSIC = {"rc_like", "n_sigma", "recent_max"}
Rule = tuple[str, ...]


def held(sink: OtlpSink) -> dict[str, dict[Rule, NumberDataPoint]]:
    """Return the newest point of each forecast metric by its attributes' values."""
    found: dict[str, dict[Rule, NumberDataPoint]] = {one.name: {} for one in table.OF_FORECAST}
    for request in list(sink.taken):
        for of_resource in request.resource_metrics:
            for scope in of_resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.gauge.data_points if metric.name in found else ():
                        rule = tuple(one.value.string_value for one in point.attributes)
                        found[metric.name][rule] = point
    return found


def test_coverage_and_loss_of_every_rule_are_told(tmp_path: Path) -> None:
    (tmp_path / "topology.yaml").write_text(topology())
    with OtlpSink() as sink:
        config = tmp_path / "collector.toml"
        config.write_text(
            f'[otlp]\nendpoint = "{sink.endpoint}"\ninterval = "1s"\nsettle = "0s"\n'
            '[privacy]\negress = "operator"\n'
        )
        options = ("--config", str(config), "--topology", str(tmp_path / "topology.yaml"))
        with collector(tmp_path, *options) as running:
            now_s = int(time.time())
            Agents(now_s - HISTORY_S).report(running.address, now_s)
            wanted = ("conformal", "host", "60s", "0.9")
            found = until(
                lambda: held(sink), lambda found: wanted in found[table.FORECAST_PINBALL.name]
            )
    coverage, pinball, windows = (found[metric.name] for metric in table.OF_FORECAST)
    assert coverage.keys() == pinball.keys() == windows.keys()
    assert {kind for _, kind, _, _ in coverage} == KINDS
    assert {predictor for predictor, _, _, _ in coverage} >= CLASSIC | {"conformal"}
    assert all(point.as_int > 0 for point in windows.values())
    assert all(0.0 <= point.as_double <= 1.0 for point in coverage.values())
    assert all(0.0 <= point.as_double < 1.0 for point in pinball.values())
