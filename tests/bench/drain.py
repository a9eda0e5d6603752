"""A real agent process that drains a prepared backlog into a real collector process."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chipwatt.agent.spool.spool import Spool
from chipwatt.cli import toml
from chipwatt.core import codec, identity
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain
from chipwatt.core.records import Records
from fakes.telemetry_records import a_second, a_window

GPUS, ZONES = 8, 6
_EPOCH_S = 1_780_000_000


def write_backlog(folder: Path, seconds: int) -> int:
    """Fill a spool with a batch a second of a host with 8 GPUs and 6 zones; return its bytes."""
    devices = [(DeviceId(DeviceKind.GPU, 0, (1 << 80) + n), Domain.BOARD) for n in range(GPUS)]
    devices += [(DeviceId(DeviceKind.CPU, n // 2), Domain(1 + n % 2)) for n in range(ZONES)]
    spool = Spool(folder, identity.boot_id())
    for second in range(_EPOCH_S, _EPOCH_S + seconds):
        energy_uj = 300_000_000 + second % 1000
        cumulative_uj = energy_uj * (second - _EPOCH_S + 1) + 10**9
        windows = tuple(
            a_window(second, energy_uj, device=device, domain=domain, cumulative_uj=cumulative_uj)
            for device, domain in devices
        )
        batch = Records(windows=windows, host_seconds=(a_second(second, 4_200_000),))
        spool.append([(codec.encode_records(batch), b"")])
    written = spool.counts().bytes
    spool.close()
    return written


@dataclass
class Drain:
    """An agent that waits for its collector, and what its status file says."""

    folder: Path
    agent: subprocess.Popen[bytes]
    collector: subprocess.Popen[bytes]
    began_s: float = 0.0
    took_s: float = 0.0

    def begin(self) -> None:
        """Let the agent go on: it finds its collector at once."""
        self.began_s = time.monotonic()
        self.agent.send_signal(signal.SIGCONT)

    def finish(self, seconds: float) -> None:
        """Return once the backlog is with the collector."""
        unacked = _said(self.folder)
        _until(lambda: 0 <= unacked() < 10, seconds, self.folder)
        self.took_s = time.monotonic() - self.began_s


@contextmanager
def drain(folder: Path, backlog: Path, records: int) -> Iterator[Drain]:
    """Start both, the agent on a copy of ``backlog`` and stopped until ``begin``."""
    folder.mkdir()
    shutil.copytree(backlog, folder / "state/spool")
    address = f"127.0.0.1:{_free_port()}"
    settings = {
        "collector": address,
        "state_dir": folder / "state",
        "status_file": folder / "status.json",
        "sensing": {"sources": ["estimate"], "max_rate": 1},
        "uplink": {"retry_least": "50ms", "retry_most": "200ms"},
        "drain_grace": "100ms",
    }
    config = folder / "agent.toml"
    config.write_text(toml.dumps(settings))
    agent = _start(folder, "agent", "--config", str(config))
    try:
        waiting = _said(folder)
        _until(lambda: waiting() >= records, 60, folder)
        agent.send_signal(signal.SIGSTOP)
        ready = folder / "ready.json"
        options = ("--listen", address, "--ready-file", str(ready))
        state = ("--state-dir", str(folder / "collector-state"))
        collector = _start(folder, "collector", *options, *state)
        try:
            _until(ready.exists, 60, folder)
            yield Drain(folder, agent, collector)
        finally:
            _end(collector)
    finally:
        agent.send_signal(signal.SIGCONT)
        _end(agent)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(30)


def _said(folder: Path) -> Callable[[], int]:
    """Return what gives the records that the collector lacks; -1 while the agent is silent."""

    def unacked() -> int:
        try:
            status: dict[str, Any] = json.loads((folder / "status.json").read_text())
        except (OSError, ValueError):
            return -1
        return int(status["spool"]["unacked"])

    return unacked


def _start(folder: Path, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.log").open("ab") as log:
        command = [sys.executable, "-m", f"chipwatt.{name}", *arguments]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _until(condition: Callable[[], bool], seconds: float, folder: Path) -> None:
    deadline_ns = time.monotonic_ns() + int(seconds * NS_PER_S)
    while not condition():
        if time.monotonic_ns() > deadline_ns:
            logs = "\n".join(path.read_text()[-2000:] for path in folder.glob("*.log"))
            raise RuntimeError(f"not within {seconds:.0f} s; the logs end with\n{logs}")
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
