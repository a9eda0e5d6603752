"""The machine's own NVIDIA card through the real library. Skipped where there is none.

The table goes to ``tests/hardware/results``, or to the folder that
``CHIPWATT_HARDWARE_RESULTS`` names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(400)]

HERE = Path(__file__).resolve().parent
_COUNT = "import pynvml; pynvml.nvmlInit(); print(pynvml.nvmlDeviceGetCount())"


def program(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=HERE.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    """Measure the first card once for all tests."""
    counted = program("-c", _COUNT)
    if counted.returncode != 0:
        reason = counted.stderr.strip().splitlines()[-1]
        pytest.skip(f"no NVIDIA GPU can be reached here: {reason}")
    if int(counted.stdout) == 0:
        pytest.skip("NVML works here but lists no GPU")
    out = Path(os.environ.get("CHIPWATT_HARDWARE_RESULTS", HERE / "results"))
    out.mkdir(parents=True, exist_ok=True)
    result = program("-m", "hardware.measure", "--out", str(out), timeout=300)
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(Path(result.stdout.splitlines()[-1]).read_text())
    return found


def test_the_agent_finds_what_the_bench_finds(table: dict[str, Any]) -> None:
    moving = table["loads"].get("step", table["idle"])["refresh_ms"]["energy"]
    assert table["agent_found"], "the agent sees the card"
    for sensor in table["agent_found"]:
        if sensor["method"] == "COUNTER" and moving is not None:
            assert sensor["refresh_us"] / 1000 == pytest.approx(moving, rel=0.3)


def test_calls_are_fast_enough_to_be_polled(table: dict[str, Any]) -> None:
    batched = table["calls"]["GetFieldValues of 4"]
    assert batched["error"] is None
    assert batched["p99_us"] < 50_000


def test_the_counter_is_the_integral_of_power(table: dict[str, Any]) -> None:
    """Within 10 %: the sensor sees a part of the time only, on some cards a quarter of it."""
    if not table["loads"]:
        pytest.skip(f"no load could be made: {table['no_load']}")
    for name in ("step", "square 2 s"):
        energy = table["loads"][name]["energy"]
        if energy is None:
            pytest.skip("this card has no energy counter")
        assert abs(energy["counter_over_instant_ppm"]) < 100_000, name


def test_the_agent_is_cheap(table: dict[str, Any]) -> None:
    cost = table["agent_cost"]
    assert cost["agent_cpu_percent"] + cost["sensing_cpu_percent"] < 3
    assert cost["agent_memory_mib"] + cost["sensing_memory_mib"] < 80
