"""Names that Prometheus gives to OTLP metrics and attributes.

The rules of "OTLP Metric points to Prometheus" in OpenTelemetry's compatibility specification, as
Prometheus' OTLP receiver applies them by default (``UnderscoreEscapingWithSuffixes``).
"""

from __future__ import annotations

import re

_UNITS = {
    "J": "joules",
    "W": "watts",
    "s": "seconds",
    "ms": "milliseconds",
    "Hz": "hertz",
    "By": "bytes",
    "1": "",
}
_RATIO = "ratio"
_NOT_A_NAME = re.compile(r"[^a-zA-Z0-9]+")


def unit_of(unit: str, *, is_gauge: bool = False) -> str:
    """Return a unit in words: "watts_per_second" of "W/s"; empty of annotations in braces."""
    if unit == "1":
        return _RATIO if is_gauge else ""
    over, _, under = unit.partition("/")
    words = [_word(over)]
    if _word(under):
        words += ["per", _word(under).removesuffix("s")]
    return "_".join(word for word in words if word)


def metric_name(name: str, unit: str, *, is_gauge: bool = False, is_counter: bool = False) -> str:
    """Return the name of a metric, its unit and, of a monotonic sum, ``total`` at the end."""
    words = [word for word in _NOT_A_NAME.split(name) if word]
    suffix = unit_of(unit, is_gauge=is_gauge)
    if suffix and suffix not in words:
        words.append(suffix)
    if is_counter:
        words = [word for word in words if word != "total"] + ["total"]
    return "_".join(words)


def label_name(attribute: str) -> str:
    """Return the label of an attribute: "hw_id" of "hw.id"."""
    return _NOT_A_NAME.sub("_", attribute)


def _word(unit: str) -> str:
    unit = re.sub(r"\{[^}]*\}", "", unit)
    return _UNITS.get(unit, unit)
