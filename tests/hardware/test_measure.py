"""The measuring program over the fake libraries: what it finds is what they were told to play."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from fakes import nvml
from fakes.build import build
from fakes.scenario import FakeDevice, square, write_scenario
from hardware.spin import ptx

HERE = Path(__file__).resolve().parent
MS = 1_000_000


def cuda_folder() -> Path:
    return build("cuda", [HERE / "cuda.c"], "libcuda.so.1")


def run(folder: Path, card: FakeDevice, *arguments: str, cuda_uuid: str) -> dict[str, Any]:
    """Measure a card that plays its load in real time from now on."""
    write_scenario(folder / "nvml", [card])
    environment = nvml.environment(folder / "nvml")
    environment["LD_LIBRARY_PATH"] += f"{os.pathsep}{cuda_folder()}"
    environment["CHIPWATT_FAKE_CUDA_UUID"] = uuid.UUID(cuda_uuid.removeprefix("GPU-")).hex
    out = folder / "table.json"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "hardware.measure", "--out", str(out), *arguments],
        cwd=HERE.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(out)
    table: dict[str, Any] = json.loads(out.read_text())
    return table


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Measure one card that swings between 100 and 500 W each 1.5 s."""
    card = nvml.gpu(1, square(100_000, 500_000, 3000 * MS))
    return run(
        tmp_path_factory.mktemp("card"), card,
        "--brief", "--idle", "7", "--agent", "2", "--only", "square 200 ms",
        cuda_uuid=card.texts["uuid"],
    )  # fmt: skip


def test_refresh_and_averaging_are_those_of_the_card(table: dict[str, Any]) -> None:
    idle = table["idle"]
    assert idle["refresh_ms"]["energy"] == pytest.approx(100, abs=6)
    assert idle["averaging_ms"] == pytest.approx(1000, abs=150)
    assert idle["power_mw"]["instant"] == [100_000, 500_000]


def test_the_counter_is_the_integral(table: dict[str, Any]) -> None:
    energy = table["idle"]["energy"]
    assert energy["counter_mj"] > 0
    # A wave cut anywhere: one refresh of the difference between both levels.
    slack_ppm = 100 * 400_000 / energy["counter_mj"] * 1_000_000 / 1000
    assert abs(energy["counter_over_instant_ppm"]) < slack_ppm


def test_every_call_is_timed_alone_and_batched(table: dict[str, Any]) -> None:
    for calls in (table["calls"], table["calls_under_load"]):
        assert set(calls) == {
            "GetPowerUsage", "GetTotalEnergyConsumption", "GetFieldValues of 1",
            "GetFieldValues of 4", "4 times GetFieldValues of 1", "GetSamples of power",
        }  # fmt: skip
        for name, each in calls.items():
            answered = each["error"] is None
            assert answered or name == "GetSamples of power", "the fake has no samples"
            assert answered is (each["p50_us"] is not None)
            assert not answered or 0 < each["p50_us"] <= each["p99_us"]
    assert table["fields"]["power_instant"]["gpu"] == 0


def test_what_our_agent_finds_and_costs_is_in_the_table(table: dict[str, Any]) -> None:
    assert table["agent_found"]
    assert "GPU-" not in json.dumps(table), "no card can be told from a published table"
    assert all(s["refresh_us"] == pytest.approx(100_000, rel=0.2) for s in table["agent_found"])
    cost = table["agent_cost"]
    assert 0 <= cost["sensing_cpu_percent"] < 100
    assert 10 < cost["agent_memory_mib"] < 100


def test_a_load_runs_beside_the_polls(table: dict[str, Any]) -> None:
    assert table["no_load"] == ""
    assert table["loads"]["square 200 ms"]["polls"] > 300


def test_a_card_that_cuda_does_not_show_is_measured_without_a_load(tmp_path: Path) -> None:
    card = nvml.gpu(2, square(100_000, 500_000, 600 * MS), refresh_ns=20 * MS)
    other = f"GPU-{uuid.UUID(int=99)}"
    found = run(tmp_path, card, "--brief", "--idle", "2", "--agent", "0", cuda_uuid=other)
    assert "none of which is" in found["no_load"]
    assert found["loads"] == {}
    assert found["agent_cost"] is None
    assert found["idle"]["refresh_ms"]["energy"] == pytest.approx(20, abs=3)


def test_the_kernel_is_made_for_old_and_new_cards() -> None:
    assert ".target sm_70" in ptx(7)
    for major in (8, 9, 10, 12):
        assert ".target sm_80" in ptx(major)
