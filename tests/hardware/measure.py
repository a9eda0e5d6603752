"""Measures one NVIDIA card and writes the table as JSON; changes no setting of it.

``python -m hardware.measure --out FILE`` (in ``tests/``), about two minutes. On a
machine without a GPU the same program runs over the fake library, in the tests.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chipwatt.agent.sensing.nvml_binding import load_binding
from hardware import agent_run, calls, loads

SCHEMA = 1


def measure(
    index: int, *, idle_s: float, agent_s: float, patterns: Sequence[str], brief: bool
) -> dict[str, Any]:
    """Return the whole table of card ``index``. Raises NVMLError where there is none."""
    repeats = 60 if brief else 300
    nvml = load_binding()
    nvml.nvmlInit()
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        table = {
            "schema": SCHEMA,
            "gpu": _text(nvml.nvmlDeviceGetName(handle)),
            "driver": _text(nvml.nvmlSystemGetDriverVersion()),
            "binding": nvml.__name__,
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "fields": calls.supported(nvml, handle),
            "calls": calls.latencies(nvml, handle, repeats),
            "agent_found": agent_run.found_sensors(),
            "idle": loads.describe(loads.idle(nvml, handle, idle_s)),
            "loads": {},
            "no_load": "",
        }
        load = loads.Load(_text(nvml.nvmlDeviceGetUUID(handle))) if patterns else None
        if load is not None:
            table["no_load"] = load.problem
            for name in patterns if not load.problem else ():
                busy_ms, idle_ms, count = loads.PATTERNS[name]
                pattern = (busy_ms, idle_ms, -(-count // 5) if brief else count)
                seen, busy = loads.under_load(nvml, handle, load, pattern)
                table["loads"][name] = loads.describe(seen, busy)
            if not load.problem:
                table["calls_under_load"] = _busy_calls(nvml, handle, load, repeats)
            load.close()
    finally:
        nvml.nvmlShutdown()
    table["agent_cost"] = agent_run.cost(agent_s) if agent_s else None
    return table


def default_name(table: dict[str, Any]) -> str:
    """Return ``nvidia-h100-80gb-hbm3-2026-01-31.json``."""
    words = "".join(c if c.isalnum() else " " for c in table["gpu"].lower()).split()
    return f"{'-'.join(words)}-{table['date']}.json"


def _busy_calls(nvml: Any, handle: Any, load: loads.Load, repeats: int) -> dict[str, Any]:
    busy_ms = repeats * 6 * 2  # six calls with pauses of 2 ms
    playing = threading.Thread(target=load.play, args=(busy_ms, 0, 1))
    playing.start()
    table = calls.latencies(nvml, handle, repeats)
    playing.join()
    return table


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def main() -> int:
    """Measure and write; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", type=int, default=0, help="which card (0)")
    parser.add_argument("--out", type=Path, required=True, help="file, or folder for one by name")
    parser.add_argument("--idle", type=float, default=15.0, help="seconds to watch it idle (15)")
    parser.add_argument("--agent", type=float, default=20.0, help="seconds to run our agent (20)")
    parser.add_argument("--no-load", action="store_true", help="leave the card alone")
    parser.add_argument("--only", action="append", default=[], choices=loads.PATTERNS)
    parser.add_argument("--brief", action="store_true", help="a fifth of everything repeated")
    options = parser.parse_args()
    patterns = [] if options.no_load else options.only or list(loads.PATTERNS)
    table = measure(
        options.index,
        idle_s=options.idle,
        agent_s=options.agent,
        patterns=patterns,
        brief=options.brief,
    )
    out = options.out / default_name(table) if options.out.is_dir() else options.out
    out.write_text(json.dumps(table, indent=1) + "\n")
    print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
