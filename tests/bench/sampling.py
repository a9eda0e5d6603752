"""Whether 1 kHz sampling keeps its deadlines while the agent drains an hour of backlog.

``python -m tests.bench.sampling`` lets, in turns,

- the real sensing process sample 6 RAPL zones at 1 kHz, and
- a bare C loop do the same reads at the same deadlines,

each while a real agent process sends a one-hour backlog to a real collector
process, all on this machine. It prints the share of deadlines met within 0.5 ms
and the CPU of both. The sensing process asks for real-time priority by itself, and the
C loop is given whatever class it got; with ``--ordinary`` it does not ask. A machine
that is loaded or small limits both alike, so the exit code is 1 only where the share
is below 99.9 % *and* below the C loop's own less 0.1 points.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS)]

from bench.drain import drain, write_backlog  # noqa: E402
from chipwatt.agent import selfmetrics  # noqa: E402
from chipwatt.agent import sensing_link as link  # noqa: E402
from chipwatt.agent.deadlines import LATE_NS  # noqa: E402
from chipwatt.agent.sensing_config import SensingConfig  # noqa: E402
from chipwatt.core import codec  # noqa: E402
from chipwatt.core.clock import NS_PER_MS, NS_PER_S  # noqa: E402
from chipwatt.core.records import AgentHealth  # noqa: E402
from chipwatt.core.settings import Duration  # noqa: E402
from fakes.build import HERE, build  # noqa: E402
from fakes.powercap import PowercapTree  # noqa: E402
from fakes.scenario import FakeDevice, steady, write_scenario  # noqa: E402

ZONES = 6
WANTED = 0.999
BEHIND_C = 0.001
DRAIN_S = 180.0


@dataclass(frozen=True, slots=True)
class Kept:
    """Deadlines and CPU of one sampler over one drain, or over several."""

    deadlines: int = 0
    late: int = 0
    cpu_ns: int = 0
    wall_ns: int = 0
    drain_s: float = 0.0
    """How long the backlog was under way meanwhile."""

    def __add__(self, other: Kept) -> Kept:
        return Kept(
            self.deadlines + other.deadlines,
            self.late + other.late,
            self.cpu_ns + other.cpu_ns,
            self.wall_ns + other.wall_ns,
            self.drain_s + other.drain_s,
        )

    @property
    def share(self) -> float:
        """Share of deadlines within 0.5 ms."""
        return 1 - self.late / max(1, self.deadlines)

    @property
    def cpu(self) -> float:
        """Share of one core."""
        return self.cpu_ns / max(1, self.wall_ns)

    def line(self, name: str, *, real_time: bool) -> str:
        """Return the figures in words."""
        return (
            f"{name:<16} {'FIFO' if real_time else 'fair'} {self.deadlines:7d} deadlines  "
            f"within 0.5 ms {self.share:8.3%}  CPU {self.cpu:6.2%} of a core  "
            f"draining {self.drain_s:.1f} of {self.wall_ns / 1e9:.1f} s"
        )


class Zones:
    """Six zones in memory whose counters a C program moves on each millisecond."""

    def __init__(self, folder: Path) -> None:
        self.tree = PowercapTree(folder)
        for package in range(ZONES // 2):
            self.tree.zone(f"intel-rapl:{package}", f"package-{package}", unit_nj=61_035)
            self.tree.zone(f"intel-rapl:{package}:0", "dram", unit_nj=61_035)
        self.counters = [zone.folder / "energy_uj" for zone in self.tree.zones]
        write_scenario(
            folder / "load",
            [
                FakeDevice(f"z{n}", steady(60_000 + n), {"energy": 1}, {"file": str(path)})
                for n, path in enumerate(self.counters)
            ],
        )
        program = build("file-player", [HERE / "file_player.c"], "file_player") / "file_player"
        self._player = subprocess.Popen(
            [str(program)],
            stdin=subprocess.PIPE,
            env={**os.environ, "CHIPWATT_FAKE_DIR": str(folder / "load")},
        )

    def close(self) -> None:
        """Let the counters stand."""
        self._player.communicate()
        self.tree.close()


class SensingProcess:
    """The agent's own sensing process on the zones."""

    def __init__(self, zones: Zones, *, real_time: bool) -> None:
        config = SensingConfig(
            sources=("rapl_powercap",),
            real_time=real_time,
            max_rate=1000,
            cpu_budget=1.0,
            batch=Duration(10 * NS_PER_S),
        )
        self._socket, theirs = socket.socketpair()
        command = [sys.executable, "-m", "chipwatt.agent.sensing_process", "--fd"]
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno())], pass_fds=[theirs.fileno()]
            )
        tree = {"sysfs": str(zones.tree.sysfs), "procfs": str(zones.tree.procfs)}
        self._socket.sendall(link.encode(link.Start(config.to_plain(), {"rapl_powercap": tree})))
        self._health: list[AgentHealth] = []
        self._measured = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._measured.wait(30):
            raise RuntimeError("the sensing process has not reported within 30 s")
        self.policy = os.sched_getscheduler(self._process.pid)
        self._cpu_ms, self._began_ns = self._cpu(), time.monotonic_ns()

    def stop(self) -> Kept:
        """End it and return what it says of its deadlines since its first report."""
        cpu_ns = (self._cpu() - self._cpu_ms) * NS_PER_MS
        wall_ns = time.monotonic_ns() - self._began_ns
        self._socket.sendall(link.encode(link.Stop()))
        self._reader.join(30)
        self._socket.close()
        self._process.wait(30)
        told = self._health[1:]  # the first one is of the fast measurement at the start
        return Kept(
            sum(health.deadlines for health in told),
            sum(health.late_deadlines for health in told),
            cpu_ns,
            wall_ns,
        )

    def _cpu(self) -> int:
        return selfmetrics.cpu_ms(self._process.pid) or 0

    def _read(self) -> None:
        reader = link.FrameReader()
        while data := self._socket.recv(1 << 16):
            for message in reader.feed(data):
                if isinstance(message, link.Payload):
                    tables = codec.decode_tables(message.payload)
                    self._health += codec.records_from_tables(tables).agent
                    if self._health:
                        self._measured.set()


class CLoop:
    """The yardstick."""

    def __init__(self, zones: Zones, *, real_time: bool) -> None:
        source = Path(__file__).with_name("rapl_loop.c")
        program = build("rapl-loop", [source], "rapl_loop") / "rapl_loop"
        self._process = subprocess.Popen(
            [str(program), str(NS_PER_MS), str(LATE_NS), *map(str, zones.counters)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.policy = os.SCHED_OTHER
        if real_time:
            self.policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
            os.sched_setscheduler(self._process.pid, self.policy, os.sched_param(1))

    def stop(self) -> Kept:
        """End it and return what it counted."""
        said, _ = self._process.communicate(timeout=30)
        return Kept(*map(int, said.split()))


def measure(
    start: Callable[[], SensingProcess | CLoop], folder: Path, backlog: Path, records: int
) -> tuple[Kept, bool]:
    """Sample while one copy of the backlog is drained; also tell whether in real time."""
    with drain(folder, backlog, records) as draining:
        sampling = start()
        draining.begin()
        draining.finish(DRAIN_S)
        kept = sampling.stop()
    return kept + Kept(drain_s=draining.took_s), sampling.policy != os.SCHED_OTHER


def verdict(ours: Kept, bare: Kept) -> tuple[str, int]:
    """Return the last line and the exit code."""
    ratio = ours.cpu / bare.cpu if bare.cpu else 0.0
    figures = (
        f"{ours.share:.3%} of deadlines within 0.5 ms beside {bare.share:.3%} of the bare C loop, "
        f"{ours.cpu:.2%} of a core beside {bare.cpu:.2%} ({ratio:.1f} x)"
    )
    if ours.share >= WANTED:
        return f"sampling ok: {figures}", 0
    if ours.share >= bare.share - BEHIND_C:
        return f"sampling ok, this machine allows no more: {figures}", 0
    return f"sampling BROKEN: {figures}", 1


def main() -> int:
    """Run the rounds, print a line each and the verdict; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each sampler (3)")
    parser.add_argument("--backlog", type=int, default=3600, help="batches of 1 s to drain (3600)")
    parser.add_argument("--ordinary", action="store_true", help="do not ask for real-time priority")
    options = parser.parse_args()
    samplers: dict[str, type[SensingProcess | CLoop]] = {
        "sensing process": SensingProcess,
        "bare C loop": CLoop,
    }
    in_memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory() as disk, tempfile.TemporaryDirectory(dir=in_memory) as tree:
        backlog = Path(disk) / "backlog"
        size = write_backlog(backlog, options.backlog)
        print(f"backlog: {options.backlog} batches, {size / 1e6:.1f} MB; {os.cpu_count()} cores")
        zones = Zones(Path(tree))
        sums = dict.fromkeys(samplers, Kept())
        real_time = not options.ordinary
        try:
            for turn in range(options.rounds):
                for number, (name, sampler) in enumerate(samplers.items()):
                    kept, real_time = measure(
                        partial(sampler, zones, real_time=real_time),
                        Path(disk) / f"{turn}-{number}",
                        backlog,
                        options.backlog,
                    )
                    print(kept.line(name, real_time=real_time), flush=True)
                    sums[name] += kept
        finally:
            zones.close()
    line, code = verdict(*sums.values())
    print(line)
    return code


if __name__ == "__main__":
    sys.exit(main())
