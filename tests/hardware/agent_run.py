"""What our own agent finds on this machine's NVIDIA cards, and what it costs there."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from chipwatt.agent.sensing_config import SensingConfig
from chipwatt.agent.sensors_report import report
from chipwatt.cli import toml

_SETTLE_S = 4.0


def found_sensors() -> list[dict[str, Any]]:
    """Return the sensors of NVML as ``chipwatt sensors`` lists them, measured for a second.

    Without the cards' UUIDs: the table is for everybody to read.
    """
    interfaces = report(SensingConfig(sources=("nvml",)))["interfaces"]
    sensors: list[dict[str, Any]] = [
        {key: value for key, value in sensor.items() if key != "device"}
        for interface in interfaces
        if interface["name"] == "nvml"
        for sensor in interface.get("sensors", ())
    ]
    return sensors


def cost(seconds: float) -> dict[str, float]:
    """Run an agent on NVML alone at its defaults; return its CPU in percent of a core and MiB.

    It has no collector, so its uplink only knocks now and then.
    """
    with tempfile.TemporaryDirectory() as folder:
        status_file = Path(folder) / "status.json"
        settings = {
            "collector": "127.0.0.1:1",
            "state_dir": Path(folder) / "state",
            "status_file": status_file,
            "drain_grace": "0s",
            "sensing": {"sources": ["nvml"]},
        }
        config = Path(folder) / "agent.toml"
        config.write_text(toml.dumps(settings))
        with (Path(folder) / "agent.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "chipwatt.agent", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            time.sleep(_SETTLE_S)
            before = _cost_in(status_file)
            time.sleep(seconds)
            after = _cost_in(status_file)
        finally:
            process.terminate()
            process.wait(30)
    figures = {}
    for name in ("agent", "sensing"):
        spent_ms = after[name]["cpu_ms"] - before[name]["cpu_ms"]
        figures[f"{name}_cpu_percent"] = round(spent_ms / (10 * seconds), 2)
        figures[f"{name}_memory_mib"] = round((after[name]["memory_bytes"] or 0) / 2**20, 1)
    return figures


def _cost_in(status_file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(status_file.read_text())["cost"]
    return found
