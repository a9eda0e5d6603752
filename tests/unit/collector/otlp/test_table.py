"""The table of conventions and the exporter's golden request say the same."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import Counter, MeterProvider, ObservableGauge, UpDownCounter
from opentelemetry.semconv._incubating.attributes import hw_attributes
from opentelemetry.semconv._incubating.metrics import hw_metrics

from chipwatt.collector.otlp.table import COMPONENT, METRICS, Instrument, Metric

ROOT = Path(__file__).parents[4]
GOLDEN = ROOT / "tests" / "golden" / "otlp_request.json"
OPTIONAL = {"hw.parent", "chipwatt.filtered"}
KINDS = {
    Instrument.COUNTER: "sum",
    Instrument.UP_DOWN_COUNTER: "sum",
    Instrument.GAUGE: "gauge",
    Instrument.HISTOGRAM: "exponentialHistogram",
}


def golden() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for of in json.loads(GOLDEN.read_text())["resourceMetrics"]:
        for scope in of["scopeMetrics"]:
            assert scope["scope"] == {"name": "chipwatt", "version": "1.2.3"}
            for metric in scope["metrics"]:
                found[metric["name"]].append(metric)
    return found


def test_the_exporter_sends_what_the_table_has_and_nothing_else() -> None:
    assert set(golden()) == {metric.name for metric in METRICS}
    assert len(METRICS) == len({metric.name for metric in METRICS})


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_each_metric_is_sent_as_the_table_says(metric: Metric) -> None:
    allowed = set(metric.attributes) | (set(COMPONENT) if metric.is_of_component else set())
    for sent in golden()[metric.name]:
        assert (sent["unit"], sent["description"]) == (metric.unit, metric.meaning)
        data = sent[KINDS[metric.instrument]]
        if metric.instrument is not Instrument.GAUGE:
            assert data["aggregationTemporality"] == "AGGREGATION_TEMPORALITY_CUMULATIVE"
        is_counter = metric.instrument is Instrument.COUNTER
        assert data.get("isMonotonic", False) == is_counter
        for point in data["dataPoints"]:
            names = {attribute["key"] for attribute in point["attributes"]}
            assert allowed - OPTIONAL <= names <= allowed
            assert point["startTimeUnixNano"] <= point["timeUnixNano"]


def test_only_hardware_that_the_conventions_name_has_their_names() -> None:
    for metric in METRICS:
        assert metric.name.startswith(("hw.", "chipwatt."))
    ours = {metric.name for metric in METRICS if metric.name.startswith("hw.")}
    assert ours == {"hw.energy", "hw.power", "hw.status", "hw.host.energy", "hw.host.power"}


CREATED = {
    Counter: Instrument.COUNTER,
    UpDownCounter: Instrument.UP_DOWN_COUNTER,
    ObservableGauge: Instrument.GAUGE,
}


@pytest.mark.parametrize(
    "metric", [one for one in METRICS if one.name.startswith("hw.")], ids=lambda metric: metric.name
)
def test_the_published_conventions_say_the_same(metric: Metric) -> None:
    provider = MeterProvider(shutdown_on_exit=False)
    create: Any = getattr(hw_metrics, f"create_{metric.name.replace('.', '_')}")
    gauge: dict[str, Any] = {"callbacks": []} if metric.instrument is Instrument.GAUGE else {}
    published = create(provider.get_meter("x"), **gauge)
    provider.shutdown()
    (kind,) = (ours for theirs, ours in CREATED.items() if isinstance(published, theirs))
    assert (published.name, published.unit, kind) == (metric.name, metric.unit, metric.instrument)


def test_attributes_of_hardware_are_published_ones() -> None:
    published = {value for name, value in vars(hw_attributes).items() if name.startswith("HW_")}
    used = {name for metric in METRICS for name in (*COMPONENT, *metric.attributes)}
    assert {name for name in used if name.startswith("hw.")} <= published
