"""The shapes of power that sensors are tried with, as points of ``fakes.scenario``."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path

from chipwatt.agent.trace.reader import read_trace
from fakes.scenario import NS_PER_S, Point, ramp, square, steady

MS = 1_000_000
SECONDS = 120
"""Longer than any case, which may start late."""


def training_swing(step_ms: int) -> list[Point]:
    """Return a training step: 68 % compute at high power, 24 % communication at low, soft edges."""
    points: list[Point] = []
    for step in range(SECONDS * 1000 // step_ms):
        t = step * step_ms * MS
        points += [(t, 620_000), (t + step_ms * 68 * MS // 100, 650_000)]
        points += [(t + step_ms * 72 * MS // 100, 260_000)]
        points += [(t + step_ms * 96 * MS // 100, 240_000)]
    return points


def recorded(name: str, folder: Path | None = None) -> list[Point] | None:
    """Return a measured trace as a load; None where the data is not there."""
    base = folder or Path(os.environ.get("CHIPWATT_DATA", "../shared/data"))
    path = base / "power" / name
    if not path.exists():
        return None
    device = next(iter(read_trace(path).devices))
    first = device.stamps_unix_ns[0]
    return [
        (stamp - first, power)
        for stamp, power in zip(device.stamps_unix_ns, device.values, strict=True)
    ]


@functools.cache
def loads() -> dict[str, Sequence[Point]]:
    """Return the loads by name; recorded ones only where their data is."""
    found: dict[str, Sequence[Point]] = {
        "steady": steady(350_000),
        "square 50 ms": square(120_000, 600_000, 50 * MS, SECONDS),
        "square 100 ms": square(120_000, 600_000, 100 * MS, SECONDS),
        "square 200 ms": square(120_000, 600_000, 200 * MS, SECONDS),
        "ramp": ramp(80_000, 680_000, 20 * NS_PER_S),
        "training 0.2 Hz": training_swing(5000),
        "training 0.8 Hz": training_swing(1250),
        "training 3 Hz": training_swing(333),
    }
    for label, name in {
        "POWER9 40 ms": "power9_occ_hwmon_sensor_runs.tsv",
        "Jetson 12 ms": "jetson_ina3221_resnet50_12ms.csv",
    }.items():
        trace = recorded(name)
        if trace is not None:
            found[label] = trace
    return found
