"""A real agent process that drains a prepared backlog into a real collector process.

``python -m tests.bench.drain`` does so with some hours of backlog while the agent goes on to
measure, and looks at the collector's newest state meanwhile. It prints how much
faster than real time the backlog went and how old the newest second was; the exit
code is 1 where the one is below 10 or the other above 5 s.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chipwatt.agent.spool.spool import Spool
from chipwatt.cli import toml
from chipwatt.client import CollectorClient
from chipwatt.core import codec, identity
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain
from chipwatt.core.records import Records

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from fakes.telemetry_records import a_second, a_window  # noqa: E402

GPUS, ZONES = 8, 6
WANTED = 10
MAX_AGE_S = 5.0
"""A second ends, goes to one disk, then to the other: 2 s, and some for a busy machine."""
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
    address: str
    began_s: float = 0.0
    took_s: float = 0.0
    ages_s: list[float] = field(default_factory=list)
    """How old the newest live second at the collector was, looked at now and then."""

    def begin(self) -> None:
        """Let the agent go on: it finds its collector at once."""
        self.began_s = time.monotonic()
        self.agent.send_signal(signal.SIGCONT)

    def finish(self, seconds: float) -> None:
        """Return once the backlog is with the collector."""
        unacked = _said(self.folder)
        with CollectorClient(self.address) as client:

            def is_drained() -> bool:
                self._look(client)
                return 0 <= unacked() < 10

            _until(is_drained, seconds, self.folder)
        self.took_s = time.monotonic() - self.began_s

    def _look(self, client: CollectorClient) -> None:
        starts_ns = [s.host_second.start_unix_ns for s in client.latest() if s.host_second]
        age_s = time.time() - (max(starts_ns, default=0) / NS_PER_S + 1)
        if age_s < time.time() - _EPOCH_S - 10**6:  # the backlog lies long ago
            self.ages_s.append(age_s)


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
        "sensing": {"sources": ["estimate"], "max_rate": 1, "window": "1s", "batch": "1s"},
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
            yield Drain(folder, agent, collector, address)
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


def main() -> int:
    """Drain once, print a line and the verdict; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=4.0, help="backlog in batches of 1 s (4)")
    options = parser.parse_args()
    seconds = int(options.hours * 3600)
    with tempfile.TemporaryDirectory() as name:
        backlog = Path(name) / "backlog"
        written = write_backlog(backlog, seconds)
        with drain(Path(name) / "run", backlog, seconds) as draining:
            draining.begin()
            draining.finish(seconds / WANTED + 60)
    ratio = seconds / draining.took_s
    oldest_s = max(draining.ages_s, default=float("inf"))
    print(
        f"{seconds} batches of 1 s, {written / 1e6:.1f} MB, in {draining.took_s:.1f} s; newest "
        f"live second at most {oldest_s:.1f} s old meanwhile ({len(draining.ages_s)} looks)"
    )
    is_good = ratio >= WANTED and oldest_s <= MAX_AGE_S
    print(f"drain {'ok' if is_good else 'BROKEN'}: {ratio:.0f} x real time beside live data")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
