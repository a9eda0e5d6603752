"""Opens one real source in a process of its own and prints what it gives, as JSON.

A vendor library is loaded once a process and stays; so each fake gets a fresh
process, started by ``probe`` with the library's folder and the scenario.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chipwatt.agent.sensing import registry
from chipwatt.agent.sensing.contract import SourceUnavailable, TransientReadError
from chipwatt.core import settings

TESTS = Path(__file__).resolve().parents[1]


def probe(
    source: str,
    environment: Mapping[str, str],
    *,
    config: Mapping[str, Any] | None = None,
    polls: int = 3,
    every_s: float = 0.05,
) -> dict[str, Any]:
    """Poll ``source`` in a child; return sensors, readings, throttles, errors or absence."""
    order = json.dumps(
        {"source": source, "config": config or {}, "polls": polls, "every_s": every_s}
    )
    result = subprocess.run(
        [sys.executable, "-m", "fakes.probe", order],
        cwd=TESTS,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 1, f"a library wrote to stdout: {lines[:-1]}"
    return dict(json.loads(lines[0]))


def _run(order: Mapping[str, Any]) -> dict[str, Any]:
    registered = registry.load()[order["source"]]
    source = registered.make(settings.build(registered.config, order["config"], "probe"))
    try:
        sensors = source.open()
    except SourceUnavailable as absent:
        return {"absent": absent.reason.name, "detail": absent.detail}
    readings: list[Any] = []
    throttles: list[Any] = []
    errors = []
    next_s = time.monotonic()
    for _ in range(order["polls"]):
        try:
            readings.append(list(source.poll()))
        except TransientReadError as error:
            errors.append(str(error))
        throttles.append(
            [
                (position, [getattr(t, name) for name in ("limit_mw", "power_ms", "thermal_ms")])
                for position, t in source.throttle()
            ]
        )
        next_s += order["every_s"]
        time.sleep(max(0.0, next_s - time.monotonic()))
    source.close()
    return {
        "sensors": [
            {
                "device": str(sensor.device),
                "domain": sensor.domain.name,
                "quantity": sensor.quantity.name,
                "root": sensor.root,
                "label": sensor.label,
                "averaging_ns": sensor.averaging_ns,
                "max_power_mw": sensor.max_power_mw,
                "limits": dataclasses.astuple(sensor.limits),
            }
            for sensor in sensors
        ],
        "readings": readings,
        "throttles": throttles,
        "errors": errors,
    }


if __name__ == "__main__":
    print(json.dumps(_run(json.loads(sys.argv[1]))))
