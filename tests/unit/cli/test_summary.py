"""The end of a run: promised keys, differences of counters, one hint."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from chipwatt.cli.cost import Cost
from chipwatt.cli.live import Seen
from chipwatt.cli.summary import Summary
from chipwatt.client import CollectorStatus, DeviceInfo
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain, Flag, Interface, Method, Statistic
from chipwatt.core.records import SensorStatus
from unit.cli.test_live import second, windows
from unit.cli.test_tally import window

NVML = SensorStatus(
    window(0, 1).device, Domain.BOARD, Statistic.ENERGY, Interface.NVML, Method.COUNTER, True,
    0, 0, 0, 0, 0,
)  # fmt: skip
DEVICES = (DeviceInfo(NVML.device, (NVML,)), DeviceInfo(DeviceId(DeviceKind.CPU), ()))
PAST = CollectorStatus(3, 100, 10, 1, 0, 0, 0, 4096, 1, 5_000_000, 0, 0, 0)


def summary(seen: Seen, state_dir: Path | None = None) -> Summary:
    return Summary(
        address="127.0.0.1:1",
        elapsed_ns=20 * 10**9,
        seen=seen,
        before=PAST,
        after=replace(
            PAST, host_seconds_stored=119, device_windows_stored=30, root_energy_uj=85_000_000
        ),
        host="ab" * 16,
        devices=DEVICES,
        agent={"spool": {"unacked": 2, "held": 1}},
        costs=[Cost("agent", 10, 4_000, 20_000), Cost("sensing", 11, 6_000, 30_000)],
        start_cpu_ns=500_000_000,
        state_dir=state_dir,
    )


def estimated() -> Seen:
    seen = Seen()
    seen.take(windows(2, Flag.ROOT | Flag.ESTIMATED), [second(0)])
    return seen


def test_json_has_the_promised_keys_and_counts_only_this_run() -> None:
    row = json.loads(json.dumps(summary(estimated()).as_json()))
    promised = {
        "sources": ["nvml"],
        "devices": 2,
        "host_seconds_stored": 19,
        "device_windows_stored": 20,
        "energy_uj": 80_000_000,
        "unacked": 3,
        "flags": ["ESTIMATED"],
    }
    assert {key: row[key] for key in promised} == promised
    assert row["cost"]["cpu_ppm"] == 10_000
    assert row["cost"]["pss_kib"] == 50_000


def test_people_get_the_warning_the_cost_and_one_hint(tmp_path: Path) -> None:
    text = summary(estimated()).text()
    assert text.startswith("ESTIMATED")
    assert "80.0 J in 20.0 s" in text
    assert "not yet acked: 3" in text
    assert "1.0 % of one core, 48.8 MiB PSS (agent 0.4 %" in text
    assert text.count("next:") == 1
    assert f"{tmp_path}/collector" in summary(estimated(), tmp_path).text()


def test_nothing_measured_points_at_the_reason() -> None:
    assert "`chipwatt sensors` says why" in summary(Seen()).text()
