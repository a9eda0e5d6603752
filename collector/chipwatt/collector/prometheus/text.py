"""The newest points as text: OpenMetrics 1.0, or the Prometheus format 0.0.4 that came before."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from chipwatt.collector.prometheus.classic import Classic
from chipwatt.collector.prometheus.families import Family

OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PLAIN = "text/plain; version=0.0.4; charset=utf-8"


def rendered(families: Iterable[Family], *, is_open_metrics: bool) -> str:
    """Return the text of a scrape."""
    lines: list[str] = []
    for family in families:
        if family.series:
            lines += _head(family, is_open_metrics=is_open_metrics)
            lines += _samples(family)
    if is_open_metrics:
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


def _head(family: Family, *, is_open_metrics: bool) -> Iterator[str]:
    # The older format calls a counter by the name of its samples.
    is_old_counter = family.kind == "counter" and not is_open_metrics
    name = f"{family.name}_total" if is_old_counter else family.name
    meaning = family.meaning.replace("\\", r"\\").replace("\n", r"\n")
    if is_open_metrics:
        meaning = meaning.replace('"', r"\"")
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} {family.kind}"
    if is_open_metrics and family.unit:
        yield f"# UNIT {name} {family.unit}"


def _samples(family: Family) -> Iterator[str]:
    name = f"{family.name}_total" if family.kind == "counter" else family.name
    for labels, (_, value) in family.series.items():
        if isinstance(value, Classic):
            yield from _histogram(family.name, labels, value)
        else:
            yield f"{name}{{{labels}}} {_number(value)}"


def _histogram(name: str, labels: str, value: Classic) -> Iterator[str]:
    before = f"{name}_bucket{{{labels}," if labels else f"{name}_bucket{{"
    for bound, below in zip(value.bounds, value.below, strict=True):
        yield f'{before}le="{bound!r}"}} {below}'
    yield f'{before}le="+Inf"}} {value.count}'
    yield f"{name}_count{{{labels}}} {value.count}"
    yield f"{name}_sum{{{labels}}} {_number(value.total)}"


def _number(value: float) -> str:
    if isinstance(value, int) or math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else f"{'+' if value > 0 else '-'}Inf"
