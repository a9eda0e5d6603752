"""Metrics of workloads, beside those of chips in ``table``."""

from __future__ import annotations

from typing import Final

from chipwatt.collector.otlp.table import Instrument, Metric

_WORKLOAD: Final = ("chipwatt.workload.id", "chipwatt.workload.class")
WORKLOAD_POWER: Final = Metric(
    "chipwatt.workload.power",
    "W",
    Instrument.GAUGE,
    "Mean power of the workload on the host, in steps of 1/15 of its limit or with noise.",
    _WORKLOAD,
    "320",
    is_of_component=False,
)
WORKLOAD_ABOVE: Final = Metric(
    "chipwatt.workload.above",
    "1",
    Instrument.GAUGE,
    "Share of the time at or above so many eighths of the workload's power limit.",
    (*_WORKLOAD, "chipwatt.eighths"),
    "0.25",
    is_of_component=False,
)
WORKLOAD_METRICS: Final = (WORKLOAD_POWER, WORKLOAD_ABOVE)
