from __future__ import annotations

import pytest

from chipwatt.collector.prometheus.naming import label_name, metric_name, unit_of


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("hw.energy", "J", "counter", "hw_energy_joules_total"),
        ("hw.power", "W", "gauge", "hw_power_watts"),
        ("chipwatt.coverage", "1", "gauge", "chipwatt_coverage_ratio"),
        ("hw.status", "1", "", "hw_status"),
        ("chipwatt.power", "W", "", "chipwatt_power_watts"),
        ("chipwatt.power.ramp", "W/s", "gauge", "chipwatt_power_ramp_watts_per_second"),
        ("chipwatt.gap.count", "{gap}", "counter", "chipwatt_gap_count_total"),
        ("chipwatt.throttle.time", "s", "counter", "chipwatt_throttle_time_seconds_total"),
        ("chipwatt.collector.store.size", "By", "gauge", "chipwatt_collector_store_size_bytes"),
        ("a.seconds.total", "s", "counter", "a_seconds_total"),
    ],
)
def test_names_are_those_that_prometheus_makes(
    name: str, unit: str, kind: str, expected: str
) -> None:
    made = metric_name(name, unit, is_gauge=kind == "gauge", is_counter=kind == "counter")
    assert made == expected


def test_an_annotation_is_no_unit() -> None:
    assert unit_of("{poll}") == ""
    assert unit_of("{poll}/s") == "per_second"


def test_a_label_has_underscores_where_an_attribute_has_dots() -> None:
    assert label_name("hw.limit_type") == "hw_limit_type"
