"""The dashboards name nothing that is not exported."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chipwatt.collector.otlp import table as hardware
from chipwatt.collector.otlp.table import Instrument, Metric
from chipwatt.collector.prometheus.naming import label_name, metric_name
from chipwatt.collector.telemetry import table as own

FOLDER = Path(__file__).parents[3] / "packaging" / "grafana"
FILES = sorted(FOLDER.glob("*.json"))
_OURS = re.compile(r"\b(?:hw|chipwatt)_\w+")
_GROUPED = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_MATCHED = re.compile(r"\{([^}]*)\}")


def names_of(metric: Metric) -> Iterator[str]:
    kind = metric.instrument
    name = metric_name(
        metric.name,
        metric.unit,
        is_gauge=kind is Instrument.GAUGE,
        is_counter=kind is Instrument.COUNTER,
    )
    yield name
    if kind is Instrument.HISTOGRAM:
        yield from (f"{name}_{suffix}" for suffix in ("bucket", "count", "sum"))


EXPORTED = {name for metric in (*hardware.METRICS, *own.METRICS) for name in names_of(metric)}
LABELS = {
    *(label_name(key) for key in hardware.COMPONENT),
    *(label_name(key) for one in (*hardware.METRICS, *own.METRICS) for key in one.attributes),
    *("host_id", "host_name", "le", "vmrange"),
}


def queries(file: Path) -> Iterator[str]:
    content: Any = json.loads(file.read_text())
    for panel in content["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in content["templating"]["list"]:
        if variable["type"] == "query":
            yield re.sub(r"label_values\((.*), (\w+)\)", r"sum by (\2) (\1)", variable["query"])


def test_the_five_are_there() -> None:
    assert {file.stem for file in FILES} == {"agents", "device", "fleet", "forecast", "host"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_query_names_an_exported_metric(file: Path) -> None:
    for query in queries(file):
        bare = _GROUPED.sub("", _MATCHED.sub("", query))
        named = set(_OURS.findall(bare))
        assert named, f"{query} names none"
        assert named <= EXPORTED, f"{query} names what is not exported: {named - EXPORTED}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_label_is_an_attribute_that_is_sent(file: Path) -> None:
    for query in queries(file):
        matched = [text.partition("=")[0] for one in _MATCHED.findall(query) if one
                   for text in one.split(",")]  # fmt: skip
        grouped = [name for one in _GROUPED.findall(query) if one for name in one.split(", ")]
        assert set(matched) | set(grouped) <= LABELS, query


def test_the_files_are_what_is_generated() -> None:
    command = [sys.executable, str(FOLDER / "generate.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
