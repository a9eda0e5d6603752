"""The fake ``libnvidia-ml.so.1``, and a child process that drives the real binding over it.

ctypes keeps a library for the life of a process, so every scenario gets a child
of its own, which finds the fake through LD_LIBRARY_PATH.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from chipwatt.core.model import Domain, Statistic
from fakes.build import HERE, build
from fakes.scenario import FakeDevice, Point, write_scenario

SONAME = "libnvidia-ml.so.1"
DRIVER = HERE / "nvml_driver.py"
OPEN: dict[str, Any] = {"do": "open"}
Line = tuple[str, Domain, Statistic]
"""Device, domain and statistic of a sensor."""


def polls(*at_ms: int) -> list[dict[str, Any]]:
    """Return the steps that poll at these times."""
    return [{"do": "poll", "at_ns": at * 1_000_000} for at in at_ms]


def lines(sensors: Sequence[Mapping[str, Any]]) -> list[Line]:
    """Return whose each sensor is."""
    return [(s["device"], Domain(s["domain"]), Statistic(s["statistic"])) for s in sensors]


def by_line(sensors: Sequence[Mapping[str, Any]], row: Sequence[Sequence[int]]) -> dict[Line, int]:
    """Return the values of one poll by what they are."""
    return {lines(sensors)[position]: value for position, _, value in row}


def library_folder() -> Path:
    """Build the library; return the folder for LD_LIBRARY_PATH."""
    return build("nvml", [HERE / "nvml.c"], SONAME)


def gpu(number: int, load: Sequence[Point], **settings: int) -> FakeDevice:
    """Return a GPU whose UUID ends in ``number``."""
    texts = {
        "uuid": f"GPU-{uuid.UUID(int=(0xC0FFEE << 64) | number)}",
        "bdf": f"00000000:{number:02X}:00.0",
        "name": "NVIDIA H100",
    }
    return FakeDevice(f"gpu{number}", load, settings, texts)


def superchip(
    number: int,
    load: Sequence[Point],
    *,
    module: Sequence[Point] = (),
    memory: Sequence[Point] = (),
    module_name: str = "",
    **settings: int,
) -> list[FakeDevice]:
    """Return a GPU with power scopes around and inside it, and what bears their loads.

    ``module_name`` names the load of a module that another GPU brought.
    """
    chip = gpu(number, load, **settings)
    texts = {**chip.texts, "name": "NVIDIA GH200 480GB"}
    loads = []
    for scope, points in (("module", module), ("memory", memory)):
        if points:
            texts[scope] = f"{scope}{number}"
            loads.append(FakeDevice(f"{scope}{number}", points, {"hidden": 1}))
    if module_name:
        texts["module"] = module_name
    return [replace(chip, texts=texts), *loads]


def environment(scenario: Path, library: Path | None = None) -> dict[str, str]:
    """Return the environment of a process that is to see the fake GPUs."""
    folder = library_folder() if library is None else library
    return {**os.environ, "LD_LIBRARY_PATH": str(folder), "CHIPWATT_FAKE_DIR": str(scenario)}


def drive(
    folder: Path,
    gpus: Sequence[FakeDevice],
    steps: Sequence[Mapping[str, Any]],
    extra: Mapping[str, str] | None = None,
    library: Path | None = None,
    first_on_path: Path | None = None,
) -> list[Any]:
    """Run ``steps`` (see ``nvml_driver``) over ``gpus`` on a clock that the steps set.

    ``extra`` goes into the child's environment, ``first_on_path`` holds modules that
    are to hide installed ones. Returns one result a step.
    """
    write_scenario(folder, gpus, start_mono_ns=0)
    clock = folder / "clock"
    clock.write_bytes(struct.pack("<q", 0))
    folders = (first_on_path, *sys.path, HERE.parent)
    result = subprocess.run(
        [sys.executable, "-W", "error", str(DRIVER)],
        env={
            **environment(folder, library),
            "CHIPWATT_FAKE_CLOCK": str(clock),
            "PYTHONPATH": os.pathsep.join(str(each) for each in folders if each),
            **(extra or {}),
        },
        input=json.dumps(list(steps)),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    results: list[Any] = json.loads(result.stdout)
    return results
