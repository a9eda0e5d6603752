"""Runs ``file_player.c``: attributes of a fake sysfs that follow loads in real time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from fakes.build import HERE, build
from fakes.hwmon import add_chip
from fakes.scenario import FakeDevice, Point, write_scenario

_GRACE_NS = 50_000_000
"""A Grace power meter shows the mean of 50 ms every 50 ms."""


class FilePlayer:
    """Moves files until it is stopped."""

    def __init__(self, folder: Path, files: Sequence[FakeDevice], start_mono_ns: int) -> None:
        """Play what ``files`` say, with time zero at ``start_mono_ns``; scratch in ``folder``."""
        write_scenario(folder, files, start_mono_ns)
        program = build("file-player", [HERE / "file_player.c"], "file_player") / "file_player"
        environment = {**os.environ, "CHIPWATT_FAKE_DIR": str(folder)}
        self._process = subprocess.Popen([program], env=environment, stdin=subprocess.PIPE)

    def stop(self) -> None:
        """Leave the files as they are."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=10)


def add_gauge(sysfs: Path, number: int, what: str, load: Sequence[Point]) -> FakeDevice:
    """Add a power meter of a Grace module, called ``what``; return what plays it."""
    files = {"power1_average": str(load[0][1] * 1000), "power1_average_interval": "50",
             "power1_oem_info": what}  # fmt: skip
    chip = add_chip(sysfs, number, "power_meter", files, device=f"ACPI000D:{number:02d}")
    path = str((chip / "power1_average").resolve())
    numbers = {"refresh_ns": _GRACE_NS, "averaging_ns": _GRACE_NS}
    return FakeDevice(f"meter{number}", load, numbers, {"file": path})
