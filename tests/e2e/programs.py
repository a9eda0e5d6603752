"""Real programs for end-to-end tests: started, asked, killed, and never left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from chipwatt.cli import toml
from chipwatt.client import CollectorClient

PYTHON = sys.executable
ROOT = Path(__file__).resolve().parents[2]
NS = 1_000_000_000


def data_dir() -> Path:
    """Where the recorded traces are; tests skip where there are none."""
    return Path(os.environ.get("CHIPWATT_DATA", ROOT.parent / "shared" / "data"))


def chipwatt(*args: object, timeout: float = 90) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    command = [PYTHON, "-m", "chipwatt.cli", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def until(condition: Callable[[], Any], seconds: float = 20, what: str = "") -> Any:
    """Wait for a true value and return it."""
    deadline_s = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline_s, f"not within {seconds} s: {what or condition}"
        time.sleep(0.05)
    return value


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def children(pid: int) -> list[int]:
    """Processes that ``pid`` started and that live."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found


PORT_FREE_S = 20
"""A port that a collector comes back to may be some connection's own for a moment."""


class Program:
    """One daemon of ours; a context manager that ends it."""

    def __init__(
        self,
        module: str,
        folder: Path,
        name: str,
        *args: object,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        """Start it, in ``environment`` if given and behind ``prefix``, a command that runs it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*prefix, PYTHON, "-m", module, *map(str, args)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self, seconds: float = 20) -> int:
        """End it as an operator does."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class DiedEarly(AssertionError):
    """A program ended before it was ready."""

    def __init__(self, program: Program) -> None:
        super().__init__(f"ended with {program.process.returncode}: {program.said()[-2000:]}")
        self.program = program


class Collector(Program):
    """A collector on a state folder that outlives it."""

    def __init__(
        self,
        folder: Path,
        listen: str = "127.0.0.1:0",
        settings: Mapping[str, object] | None = None,
        *args: object,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.credentials: dict[str, Path] = {}
        """With TLS: ca, cert and key of whoever asks it."""
        config = folder / "collector.toml"
        config.write_text(toml.dumps(settings or {}))
        self.ready = folder / "ready.json"
        self.ready.unlink(missing_ok=True)
        again_until_s = time.monotonic() + (0 if listen.endswith(":0") else PORT_FREE_S)
        while True:
            told = self._length(folder)
            super().__init__(
                "chipwatt.collector", folder, "collector",
                "--config", config, "--listen", listen,
                "--state-dir", folder / "state", "--ready-file", self.ready, *args,
                environment=environment, prefix=prefix,
            )  # fmt: skip
            until(lambda: self.ready.exists() or self.process.poll() is not None, what="collector")
            if self.ready.exists():
                break
            is_taken = "already in use" in self.said()[told:]
            if not is_taken or time.monotonic() > again_until_s:
                raise DiedEarly(self)
            time.sleep(0.5)
        self.address = str(json.loads(self.ready.read_text())["listening"])

    @staticmethod
    def _length(folder: Path) -> int:
        log = folder / "collector.log"
        return len(log.read_text(errors="replace")) if log.exists() else 0

    @contextmanager
    def client(self) -> Iterator[CollectorClient]:
        ca, cert, key = (self.credentials.get(part) for part in ("ca", "cert", "key"))
        # Without TLS it may listen on a wire that a test made for it.
        with CollectorClient(
            self.address, ca=ca, cert=cert, key=key, plaintext_over_network=True
        ) as client:
            yield client


class Agent(Program):
    """An agent on a state folder that outlives it."""

    def __init__(
        self,
        folder: Path,
        address: str,
        settings: Mapping[str, object],
        *,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.status_file = folder / "status.json"
        config = folder / "agent.toml"
        own = {
            "collector": address,
            "state_dir": folder / "state",
            "status_file": self.status_file,
            "sensing": {"window": "1s", "batch": "1s"},
        }
        config.write_text(toml.dumps(toml.merged(own, settings)))
        super().__init__(
            "chipwatt.agent", folder, "agent", "--config", config,
            environment=environment, prefix=prefix,
        )  # fmt: skip

    def status(self) -> dict[str, Any]:
        try:
            status: dict[str, Any] = json.loads(self.status_file.read_text())
        except (OSError, ValueError):
            return {}
        return status


def energy_uj(client: CollectorClient) -> dict[str, int]:
    """Stored energy by device and domain, from every window of every host."""
    sums: dict[str, int] = {}
    for host in list(client.hosts()):
        for window in client.windows(host.host_id):
            key = f"{window.device} {window.domain.name.lower()}"
            sums[key] = sums.get(key, 0) + window.energy_uj
    return sums


def no_traceback(*texts: str) -> None:
    for text in texts:
        assert "Traceback" not in text, text
