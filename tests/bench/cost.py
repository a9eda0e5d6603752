"""What the agent costs its host: CPU and memory of its processes, on three kinds of host.

``python -m tests.bench.cost`` lets the shipped agent send to a collector from three
hosts at the same time: one without a sensor (the model of its CPU), one with 2 CPUs
(4 RAPL counters), and the same with 8 GPUs of 3 statistics each. Sensors are fakes
that play square waves in C; a call into the fake NVML costs a few µs, and what a
real driver takes beyond that is not in the table.

Everything is at its defaults, the cost budget too: before the measurement it gets
time to make polls rarer, and the table says how many it left. ``--full-rate`` takes
the budget away. The exit code is 1 where all processes of an agent together take
more than 1 % of a core or more than 60 MiB.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS)]

from chipwatt.agent import selfmetrics  # noqa: E402
from chipwatt.core.clock import NS_PER_MS, NS_PER_S  # noqa: E402
from chipwatt.core.model import Flag  # noqa: E402
from e2e.programs import Agent, Collector, until  # noqa: E402
from fakes import nvml  # noqa: E402
from fakes.file_player import FilePlayer  # noqa: E402
from fakes.powercap import PowercapTree  # noqa: E402
from fakes.scenario import FakeDevice, square, write_scenario  # noqa: E402

CPU_PERCENT = 1.0
MEMORY_MIB = 60.0
_CPUS, _GPUS = 2, 8
_UNIT_NJ = 61_035
_JITTER_NS = 467_000
_SETTLE_S = {False: 35.0, True: 5.0}
"""By full rate: three assessments of the budget, or the fast measurement at the start."""

Sources = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took."""

    cpu_percent: float
    """Of one core."""
    pss_mib: float


@dataclass(frozen=True, slots=True)
class Row:
    """A host, what each process took on it, and how often its sensors were polled meanwhile."""

    host: str
    costs: Mapping[str, Cost]
    polls: str = ""

    @property
    def cpu_percent(self) -> float:
        """Of one core, all together."""
        return sum(cost.cpu_percent for cost in self.costs.values())

    @property
    def pss_mib(self) -> float:
        """All together."""
        return sum(cost.pss_mib for cost in self.costs.values())

    def line(self) -> str:
        """Return the figures in words."""
        parts = [*self.costs.items(), ("together", Cost(self.cpu_percent, self.pss_mib))]
        shown = "  ".join(f"{n} {c.cpu_percent:5.2f} % {c.pss_mib:5.1f} MiB" for n, c in parts)
        return f"{self.host:<31}{shown}  {self.polls}"


def two_cpus(folder: Path, players: list[FilePlayer]) -> Sources:
    """Play a package and its DRAM on each CPU, updated about every millisecond."""
    tree = PowercapTree(folder / "cpus")
    tree.cpuinfo()
    files: list[FakeDevice] = []
    for number in range(_CPUS):
        package = tree.zone(f"intel-rapl:{number}", f"package-{number}", unit_nj=_UNIT_NJ)
        dram = tree.zone(f"intel-rapl:{number}:0", "dram", unit_nj=_UNIT_NJ)
        for zone, high_mw in ((package, 200_000), (dram, 30_000)):
            load = square(high_mw // 2, high_mw, (900 + 100 * number) * NS_PER_MS)
            numbers = {"energy": 1, "unit_nj": _UNIT_NJ, "jitter_ns": _JITTER_NS}
            text = {"file": str((zone.folder / "energy_uj").resolve())}
            files.append(FakeDevice(f"z{len(files)}", load, numbers, text))
    tree.close()
    players.append(FilePlayer(folder / "play", files, time.monotonic_ns()))
    return {"rapl_powercap": {"sysfs": str(tree.sysfs), "procfs": str(tree.procfs)}}


def cpus_and_gpus(folder: Path, players: list[FilePlayer]) -> Sources:
    """Add GPUs with an energy counter, instantaneous and averaged power each."""
    gpus = [
        nvml.gpu(n, square(120_000, 650_000, (1100 + 70 * n) * NS_PER_MS))
        for n in range(1, _GPUS + 1)
    ]
    write_scenario(folder / "gpus", gpus)
    return {**two_cpus(folder, players), "nvml": {}}


HOSTS: Mapping[str, Callable[[Path, list[FilePlayer]], Sources]] = {
    "no sensor, model of the CPU": lambda _folder, _players: {"estimate": {}},
    "2 CPUs, 4 RAPL counters": two_cpus,
    "2 CPUs, 8 GPUs x 3 statistics": cpus_and_gpus,
}


class Host:
    """An agent and its collector on one kind of host."""

    def __init__(self, name: str, folder: Path, *, full_rate: bool) -> None:
        self.name = name
        self._stack = ExitStack()
        self._players: list[FilePlayer] = []
        self._stack.callback(self._stop_players)
        try:
            self._start(folder, full_rate=full_rate)
        except BaseException:
            self.close()
            raise

    def _start(self, folder: Path, *, full_rate: bool) -> None:
        sources = HOSTS[self.name](folder, self._players)
        unbounded = {"cpu_budget": 1.0, "library_budget": 1.0} if full_rate else {}
        settings = {
            "sensing": {"window": "10s", "batch": "10s", "sources": list(sources), **unbounded},
            "sources": {name: table for name, table in sources.items() if table},
        }
        self._collector = self._stack.enter_context(Collector(folder / "collector"))
        before = dict(os.environ)
        if "nvml" in sources:
            os.environ.update(nvml.environment(folder / "gpus"))
        agent = Agent(folder / "agent", self._collector.address, settings)
        os.environ.clear()
        os.environ.update(before)
        self._agent = self._stack.enter_context(agent)
        until(lambda: agent.status().get("uplink", {}).get("connected"), what="a stream")
        self._pids = {"agent": agent.pid, "sensing": int(agent.status()["sensing"]["pid"])}

    def begin(self) -> None:
        """Measure from now on."""
        self._began_ns, self._before_ms = time.monotonic_ns(), self._cpu_ms()

    def end(self) -> Row:
        """Return what was spent since ``begin``."""
        spent_ms, wall_ms = self._cpu_ms(), (time.monotonic_ns() - self._began_ns) / NS_PER_MS
        costs = {
            name: Cost(100 * (ms - self._before_ms[name]) / wall_ms, _pss_mib(self._pids[name]))
            for name, ms in spent_ms.items()
        }
        return Row(self.name, costs, self._polls())

    def close(self) -> None:
        """End everything."""
        self._stack.close()

    def _stop_players(self) -> None:
        for player in self._players:
            player.stop()

    def _cpu_ms(self) -> dict[str, int]:
        spent = {name: selfmetrics.cpu_ms(pid) for name, pid in self._pids.items()}
        if None in spent.values():
            raise RuntimeError(f"{self.name}: a process ended: {self._agent.said()}")
        return {name: ms for name, ms in spent.items() if ms is not None}

    def _polls(self) -> str:
        """Return polls a second of each kind of device, by their newest windows."""
        with self._collector.client() as client:
            windows = [w for host in client.hosts() for w in client.windows(host.host_id)]
        newest = {w.device.kind: w for w in sorted(windows, key=lambda w: w.start_mono_ns)}
        shown = []
        for kind, window in newest.items():
            polls = window.provenance.expected * NS_PER_S / window.duration_ns
            reduced = " RATE_REDUCED" * bool(window.flags & Flag.RATE_REDUCED)
            shown.append(f"{kind.name.lower()} {polls:.0f} polls/s{reduced}")
        return ", ".join(shown)


def _pss_mib(pid: int) -> float:
    found = selfmetrics.memory(pid)
    return found.bytes / 2**20 if found else 0.0


def verdict(rows: list[Row]) -> tuple[str, int]:
    """Return the last line and the exit code."""
    cpu_percent = max(row.cpu_percent for row in rows)
    pss_mib = max(row.pss_mib for row in rows)
    broken = cpu_percent > CPU_PERCENT or pss_mib > MEMORY_MIB
    line = (
        f"cost {'BROKEN' if broken else 'ok'}: at most {cpu_percent:.2f} % of a core "
        f"(bound {CPU_PERCENT:g} %) and {pss_mib:.1f} MiB (bound {MEMORY_MIB:g} MiB)"
    )
    return line, int(broken)


def measure(seconds: float, *, full_rate: bool) -> list[Row]:
    """Run all hosts at once and return a row each."""
    hosts: list[Host] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for number, name in enumerate(HOSTS):
                hosts.append(Host(name, Path(folder) / str(number), full_rate=full_rate))
            time.sleep(_SETTLE_S[full_rate])
            for host in hosts:
                host.begin()
            time.sleep(seconds)
            return [host.end() for host in hosts]
        finally:
            for host in hosts:
                host.close()


def main() -> int:
    """Print a line a host and the verdict; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=40, help="measured (40)")
    parser.add_argument("--full-rate", action="store_true", help="without the cost budget")
    options = parser.parse_args()
    rows = measure(options.seconds, full_rate=options.full_rate)
    for row in rows:
        print(row.line())
    line, code = verdict(rows)
    print(line)
    return code


if __name__ == "__main__":
    sys.exit(main())
