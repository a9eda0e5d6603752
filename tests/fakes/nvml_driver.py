"""A program that runs the NVML source step by step; ``nvml.drive`` starts it.

Standard input is a JSON list of steps, standard output one result each:

    {"do": "open"}              the sensors, or {"unavailable": reason, "detail": text}
    {"do": "poll", "at_ns": t}  [[sensor, mono_ns, value], ...] or {"error": class, "text": text}
    {"do": "throttle", "at_ns": t}
    {"do": "errors"}            how many reads have failed since the source was opened
    {"do": "missing"}           [[what, reason, detail], ...] of GPUs that do not answer
    {"do": "forget", "file": f} deletes a file
    {"do": "close"}

"timed": true with any of them gives {"took_ns": wall time} instead.
"""

from __future__ import annotations

import dataclasses
import json
import os
import struct
import sys
import time
from pathlib import Path
from typing import Any

from chipwatt.agent.sensing.contract import Sensor, SourceUnavailable
from chipwatt.agent.sources.nvml import NvmlConfig, NvmlSource


class FileClock:
    """The clock that the fake library reads, too: an int64 in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def mono_ns(self) -> int:
        now_ns: int = struct.unpack("<q", self._path.read_bytes())[0]
        return now_ns

    def unix_ns(self) -> int:
        return self.mono_ns()

    def sleep_until(self, mono_ns: int) -> None:
        self._path.write_bytes(struct.pack("<q", mono_ns))


def plain(sensor: Sensor) -> dict[str, Any]:
    fields = {f.name: getattr(sensor, f.name) for f in dataclasses.fields(sensor)}
    told = {"device": str(sensor.device), "statistic": sensor.statistic}
    told["limits"] = dataclasses.astuple(sensor.limits)
    return {**fields, **told, "contains": [str(device) for device in sensor.contains]}


def act(source: NvmlSource, step: dict[str, Any]) -> Any:
    if "at_ns" in step:
        source.clock.sleep_until(step["at_ns"])
    if step["do"] == "open":
        return [plain(sensor) for sensor in source.open()]
    if step["do"] == "poll":
        return list(source.poll())
    if step["do"] == "throttle":
        return [[at, dataclasses.asdict(found)] for at, found in source.throttle()]
    if step["do"] in ("errors", "missing"):
        return source.transient_errors if step["do"] == "errors" else list(source.missing)
    if step["do"] == "forget":
        return Path(step["file"]).unlink()
    return source.close()


def run(source: NvmlSource, step: dict[str, Any]) -> Any:
    try:
        began_ns = time.monotonic_ns()
        result = act(source, step)
        return {"took_ns": time.monotonic_ns() - began_ns} if step.get("timed") else result
    except SourceUnavailable as error:
        return {"unavailable": error.reason.name, "detail": error.detail}
    except Exception as error:  # noqa: BLE001 - the test judges it
        return {"error": type(error).__name__, "text": str(error)}


def main() -> None:
    source = NvmlSource(NvmlConfig())
    source.clock = FileClock(Path(os.environ["CHIPWATT_FAKE_CLOCK"]))
    print(json.dumps([run(source, step) for step in json.load(sys.stdin)]))


if __name__ == "__main__":
    main()
