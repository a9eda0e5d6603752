"""Writes the dashboards beside this file: ``python packaging/grafana/generate.py [--check]``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
SOURCE = {"type": "prometheus", "uid": "${source}"}
HOST = 'host_name=~"$host"'
DEVICE = f'{HOST},hw_id=~"$device"'
WIDTH, HEIGHT = 12, 8


def quantile(share: float, labels: str, by: str, metric: str = "chipwatt_power_watts") -> str:
    """Return a quantile of a histogram in whichever form the back end keeps it.

    Classic buckets have ``le``, VictoriaMetrics' own ``vmrange``, native histograms neither.
    """
    kept = f"{by}, " if by else ""
    buckets = f"sum by ({kept}le, vmrange) (rate({metric}_bucket{{{labels}}}[5m]))"
    native = f"sum by ({by}) (rate({metric}{{{labels}}}[5m]))"
    return f"histogram_quantile({share}, {buckets}) or histogram_quantile({share}, {native})"


def panel(title: str, unit: str, *queries: tuple[str, str], kind: str = "timeseries") -> Any:
    """Return a panel of (expression, legend)."""
    targets = [
        {"datasource": SOURCE, "expr": expr, "legendFormat": legend, "refId": chr(65 + number)}
        for number, (expr, legend) in enumerate(queries)
    ]
    defaults = {"unit": unit, "min": 0}
    field = {"defaults": defaults, "overrides": []}
    return {
        "type": kind,
        "title": title,
        "datasource": SOURCE,
        "targets": targets,
        "fieldConfig": field,
    }


def variable(name: str, query: str) -> Any:
    """Return a choice of several label values."""
    return {
        "name": name, "type": "query", "datasource": SOURCE, "query": query, "refresh": 2,
        "multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All",
        "value": "$__all"},
    }  # fmt: skip


def dashboard(title: str, variables: list[Any], panels: list[Any]) -> Any:
    """Return a dashboard with panels side by side, two in a row."""
    for number, one in enumerate(panels):
        one["id"] = number + 1
        one["gridPos"] = {
            "h": HEIGHT, "w": WIDTH, "x": WIDTH * (number % 2), "y": HEIGHT * (number // 2),
        }  # fmt: skip
    source = {"name": "source", "type": "datasource", "query": "prometheus"}
    return {
        "title": f"Chipwatt: {title}",
        "uid": f"chipwatt-{title.replace(' ', '-').lower()}",
        "tags": ["chipwatt"],
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "1m",
        "templating": {"list": [source, *variables]},
        "panels": panels,
    }


HOSTS = variable("host", "label_values(hw_host_power_watts, host_name)")
DEVICES = variable("device", 'label_values(hw_power_watts{host_name=~"$host"}, hw_id)')
RATE = "rate(hw_energy_joules_total[5m])"

FLEET = [
    panel("Power of all hosts", "watt", ("sum(hw_host_power_watts)", "hosts")),
    panel("Power by kind", "watt", (f"sum by (hw_type) ({RATE})", "{{hw_type}}")),
    panel("Hosts that draw most", "watt", ("topk(10, hw_host_power_watts)", "{{host_name}}")),
    panel(
        "Energy in a day", "joule",
        ("sum(increase(hw_host_energy_joules_total[1d]))", "known"), kind="stat",
    ),
    panel(
        "Energy that nobody can know, in a day", "joule",
        ("sum(increase(chipwatt_gap_energy_upper_joules_total[1d]))", "at most"),
        ("sum(increase(chipwatt_gap_energy_lower_joules_total[1d]))", "at least"),
    ),
    panel("Hosts heard from", "short", ("count(hw_host_power_watts)", "hosts"), kind="stat"),
    panel("Seen by the sensors, worst", "percentunit",
          ("bottomk(10, chipwatt_coverage_ratio)", "{{host_name}} {{hw_id}}")),
    panel("Slowed by limits and heat", "percentunit",
          ("sum by (chipwatt_reason) (rate(chipwatt_throttle_time_seconds_total[5m]))",
           "{{chipwatt_reason}}")),
]  # fmt: skip
ONE_HOST = [
    panel("Power", "watt", (f"hw_host_power_watts{{{HOST}}}", "{{host_name}}")),
    panel("Power of components", "watt", (f"hw_power_watts{{{HOST}}}", "{{hw_id}}")),
    panel("Energy", "joule",
          (f"increase(hw_host_energy_joules_total{{{HOST}}}[1h])", "{{host_name}}, an hour")),
    panel("Domains inside and around", "watt",
          (f"chipwatt_domain_power_watts{{{HOST}}}", "{{hw_id}} {{chipwatt_statistic}}")),
    panel("Time of which the energy is not known", "s",
          (f"increase(chipwatt_gap_duration_seconds_total{{{HOST}}}[1h])",
           "{{hw_id}} {{chipwatt_reason}}")),
    panel("Seen by the sensors", "percentunit",
          (f"chipwatt_coverage_ratio{{{HOST}}}", "{{hw_id}} {{chipwatt_statistic}}")),
]  # fmt: skip
ONE_DEVICE = [
    panel("Distribution of power", "watt",
          (quantile(0.5, DEVICE, "host_name, hw_id"), "{{hw_id}} p50"),
          (quantile(0.99, DEVICE, "host_name, hw_id"), "{{hw_id}} p99"),
          (f"chipwatt_power_max_watts{{{DEVICE}}}", "{{hw_id}} max"),
          (f"chipwatt_power_limit_watts{{{DEVICE}}}", "{{hw_id}} limit")),
    panel("Peaks by time scale", "watt",
          (f"chipwatt_power_peak_watts{{{DEVICE}}}", "{{hw_id}} {{chipwatt_timescale}}")),
    panel("Ramps", "watt",
          (f"chipwatt_power_ramp_watts_per_second{{{DEVICE}}}",
           "{{hw_id}} {{chipwatt_direction}} {{chipwatt_timescale}}")),
    panel("Swing", "watt",
          (f"chipwatt_power_swing_amplitude_watts{{{DEVICE}}}", "{{hw_id}}")),
    panel("Frequency of the swing", "hertz",
          (f"chipwatt_power_swing_frequency_hertz{{{DEVICE}}}", "{{hw_id}}")),
    panel("Slowed by limits and heat", "percentunit",
          (f"rate(chipwatt_throttle_time_seconds_total{{{DEVICE}}}[5m])",
           "{{hw_id}} {{chipwatt_reason}}")),
    panel("Polls of the sensor", "cps",
          (f"rate(chipwatt_sensor_polls_total{{{DEVICE}}}[5m])", "{{hw_id}} {{chipwatt_outcome}}")),
    panel("Refresh of the sensor", "s",
          (f"chipwatt_sensor_refresh_seconds{{{DEVICE}}}", "{{hw_id}} refresh"),
          (f"chipwatt_sensor_averaging_seconds{{{DEVICE}}}", "{{hw_id}} averaging")),
]  # fmt: skip
_LEGEND = "{{chipwatt_predictor}} {{chipwatt_node}} {{chipwatt_horizon}} q{{chipwatt_quantile}}"
FORECAST = [
    panel("Peaks within the prediction", "percentunit",
          ("chipwatt_forecast_coverage_ratio", _LEGEND)),
    panel("Off the promise", "percentunit",
          ('abs(chipwatt_forecast_coverage_ratio{chipwatt_quantile="0.99"} - 0.99)', _LEGEND)),
    panel("Pinball loss, of rated power", "percentunit",
          ("chipwatt_forecast_pinball_ratio", _LEGEND)),
    panel("Peaks behind them", "short", ("chipwatt_forecast_windows", _LEGEND)),
]  # fmt: skip
DUE = f"sum by (host_name) (rate(chipwatt_agent_deadlines_total{{{HOST}}}[15m]))"
LATE = DUE.replace(HOST, f'{HOST},chipwatt_outcome="late"')
AGENTS = [
    panel("CPU of the sensing process, of one core", "percentunit",
          (f"topk(10, chipwatt_agent_cpu_utilization_ratio{{{HOST}}})", "{{host_name}}")),
    panel("Time inside vendor libraries", "percentunit",
          (f"topk(10, chipwatt_agent_library_utilization_ratio{{{HOST}}})", "{{host_name}}")),
    panel("Late deadlines, share", "percentunit",
          (f"{LATE} / {DUE}", "{{host_name}}")),
    panel("Slowest poll", "s",
          (f"topk(10, chipwatt_agent_call_duration_seconds{{{HOST}}})",
           "{{host_name}} {{chipwatt_interface}}")),
    panel("Age of the newest data", "s",
          (f"topk(10, chipwatt_agent_lag_seconds{{{HOST}}})", "{{host_name}}")),
    panel("Failed polls and broken sources", "short",
          (f"increase(chipwatt_agent_errors_total{{{HOST}}}[1h])", "{{host_name}} errors, an hour"),
          (f"chipwatt_agent_sources_broken{{{HOST}}}", "{{host_name}} broken")),
    panel("Batches", "cps",
          ("sum by (chipwatt_outcome) (rate(chipwatt_collector_batches_total[5m]))",
           "{{chipwatt_outcome}}")),
    panel("From arrival to disk, p99", "s",
          (quantile(0.99, "", "", "chipwatt_collector_commit_wait_seconds"), "commit"),
          (quantile(0.99, "", "", "chipwatt_collector_ingest_lag_seconds"), "age of data")),
    panel("Export", "cps",
          ("sum by (chipwatt_outcome) (rate(chipwatt_collector_otlp_points_total[5m]))",
           "{{chipwatt_outcome}}")),
    panel("Lag of the export", "s", ("chipwatt_collector_otlp_lag_seconds", "export")),
    panel("Store", "bytes", ("chipwatt_collector_store_size_bytes", "store")),
    panel("Agents connected", "short", ("chipwatt_collector_streams", "streams")),
]  # fmt: skip
DASHBOARDS = {
    "fleet": dashboard("fleet", [], FLEET),
    "host": dashboard("host", [HOSTS], ONE_HOST),
    "device": dashboard("device", [HOSTS, DEVICES], ONE_DEVICE),
    "forecast": dashboard("forecast coverage", [], FORECAST),
    "agents": dashboard("agents and collector", [HOSTS], AGENTS),
}


def main() -> None:
    """Write the files, or compare them."""
    for name, content in DASHBOARDS.items():
        file, text = FOLDER / f"{name}.json", json.dumps(content, indent=1) + "\n"
        if "--check" not in sys.argv[1:]:
            file.write_text(text)
        elif not file.exists() or file.read_text() != text:
            sys.exit(f"{file.name}: stale, run `python packaging/grafana/generate.py`")


if __name__ == "__main__":
    main()
