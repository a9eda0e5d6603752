"""A collector as a process of its own, as an operator would start it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class Running:
    """A collector that listens."""

    address: str
    process: subprocess.Popen[str]
    log: Path

    def stop(self) -> int:
        """Ask it to end, as systemd would; returns its exit code."""
        self.process.terminate()
        return self.process.wait(20)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(20)


def command(*args: str) -> list[str]:
    """Return the command line of a collector."""
    return [sys.executable, "-m", "chipwatt.collector", *args]


@contextmanager
def collector(folder: Path, *args: str, listen: str = "127.0.0.1:0") -> Iterator[Running]:
    """Start a collector with its state and log in ``folder``; it ends with the block."""
    ready, log = folder / f"ready-{time.monotonic_ns()}", folder / "collector.log"
    options = ("--listen", listen, "--state-dir", str(folder / "state"))
    with log.open("a") as output:
        process = subprocess.Popen(
            command(*options, "--ready-file", str(ready), *args),
            stdout=output,
            stderr=output,
            text=True,
        )
    try:
        deadline_s = time.monotonic() + 30
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise AssertionError(f"the collector did not start: {log.read_text()}")
            time.sleep(0.02)
        yield Running(json.loads(ready.read_text())["listening"], process, log)
    finally:
        process.kill()
        process.wait(20)
