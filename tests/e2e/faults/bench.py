"""One host and one collector on a machine that can fail, over counters whose truth is known."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from chipwatt.cli import toml
from chipwatt.client.values import CollectorStatus
from chipwatt.core import identity
from chipwatt.core.errors import ChipwattError
from e2e.faults import dumps, reference
from e2e.faults.rows import Case, Counts
from e2e.programs import Agent, Collector, until
from fakes.machine_faults import Faults
from fakes.powercap import Player, PowercapTree
from fakes.scenario import Point, steady

POWER_MW = 120_000
POSSIBLE_MW = 2_000_000
"""Far above the load: a player that a busy machine held up catches up in a burst, which must
not look like the impossible that makes a wrap a reset."""
NO_WRAP_STEPS = 1 << 40
_PLAY_NS = 5_000_000
REST_S = 0.6
"""Long enough for an agent to see counters stand still."""
QUICK_RETRY = {"retry_least": "100ms", "retry_most": "1s", "retry_refused": "1s"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Host:
    """A machine with sensors and an agent."""

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        settings: Mapping[str, object] | None = None,
        load: Sequence[Point] = (),
        power: bool = False,
        faults: bool = False,
    ) -> None:
        self.folder = folder / name
        self.state = self.folder / "state"
        self.tree = PowercapTree(self.folder / "machine")
        self.tree.cpuinfo()
        self.tree.zone("intel-rapl:0", "package-0")
        self.tree.zone("intel-rapl:0:1", "dram")
        for zone in self.tree.zones:
            zone.limit(NO_WRAP_STEPS)
            zone.constrain(0, max_power_uw=POSSIBLE_MW * 1000)
        self._load = load or steady(POWER_MW)
        self._player: Player | None = None
        own = {"sysfs": self.tree.sysfs, "procfs": self.tree.procfs}
        self.settings: dict[str, Any] = toml.merged(
            {
                "sensing": {"sources": ["rapl_powercap"]},
                "sources": {"rapl_powercap": own},
                "uplink": QUICK_RETRY,
                "drain_grace": "20s",
            },
            settings or {},
        )
        self.faults: Faults | None = None
        self.id = identity.host_id(self.state)
        if faults or power:
            self.faults = Faults(self.folder / "faults", self.state, power=power)
            self.id = name.encode().ljust(16, b"\1")[:16]
            self.faults.name_machine(self.id)
        self.agent: Agent | None = None
        self.seen: set[reference.Key] = set()
        """Every record that was found in the spool."""
        self.waiting = 0
        """Records that waited there when it was last looked at."""

    def start(self, address: str, **more: Any) -> Agent:
        """Start an agent on what the last one left."""
        if self.faults is not None and "environment" not in more:
            more["environment"] = self.faults.environment
        self.agent = Agent(self.folder, address, self.settings, **more)
        return self.agent

    @property
    def running(self) -> Agent:
        assert self.agent is not None
        return self.agent

    def look(self) -> None:
        """Take note of the records that wait in the spool."""
        waiting = dumps.keys(self.id, dumps.spooled(self.state / "spool"))
        self.seen |= waiting
        self.waiting = len(waiting)

    def truth(self) -> dict[str, int]:
        """Return what was consumed since the player began, by counter."""
        package, dram = self.tree.zones[:2]
        name = self.id.hex()
        return {
            f"{name} cpu/0 package energy": package.true_steps * package.unit_nj // 1000,
            f"{name} cpu/0 dram energy": dram.true_steps * dram.unit_nj // 1000,
        }

    def play(self) -> None:
        """Let the counters count."""
        self._player = Player(dict.fromkeys(self.tree.zones, self._load))
        self._player.start(_PLAY_NS)

    def rest(self) -> None:
        """Let them stand still; the agent sees it."""
        if self._player is not None:
            self._player.stop()
            self._player = None
            time.sleep(REST_S)

    def kill(self) -> None:
        """SIGKILL the agent, and see what it left."""
        self.running.kill()
        self.look()

    def end(self) -> None:
        if self._player is not None:
            self._player.stop()
        if self.agent is not None and self.agent.process.poll() is None:
            self.agent.kill()
        self.tree.close()


class Bench:
    """A context manager: what it started ends with it, whatever happens."""

    def __init__(
        self,
        case: Case,
        *,
        settings: Mapping[str, object] | None = None,
        collector_power: bool = False,
        collector_faults: bool = False,
        hosts: int = 1,
        **host: Any,
    ) -> None:
        self.case = case
        self.folder = case.folder
        self.address = f"127.0.0.1:{free_port()}"
        self.collector_folder = case.folder / "collector"
        self.collector_settings = dict(settings or {})
        self.collector_faults: Faults | None = None
        if collector_faults or collector_power:
            self.collector_faults = Faults(
                case.folder / "collector-faults",
                self.collector_folder / "state",
                power=collector_power,
            )
        names = [f"agent{number}" for number in range(hosts)] if hosts > 1 else ["agent"]
        self.hosts = [Host(case.folder, name, **host) for name in names]
        self.credentials: dict[str, Path] = {}
        """With TLS: ca, cert and key of the one who looks into the store."""
        self.collector: Collector | None = None
        self.duplicates = 0
        self.note = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for host in self.hosts:
            host.end()
        if self.collector is not None and self.collector.process.poll() is None:
            self.collector.kill()

    @property
    def host(self) -> Host:
        return self.hosts[0]

    @property
    def store(self) -> Path:
        return self.collector_folder / "state" / "store"

    def start_collector(self, **more: Any) -> Collector:
        if self.collector_faults is not None and "environment" not in more:
            more["environment"] = self.collector_faults.environment
        self.collector = Collector(
            self.collector_folder, self.address, self.collector_settings, **more
        )
        self.collector.credentials = self.credentials
        return self.collector

    def begin(self) -> None:
        """Start everything; return once the first second is stored and the load plays."""
        self.start_collector()
        for host in self.hosts:
            host.start(self.address)
        until(lambda: self.status().connected >= len(self.hosts), what="connections")
        until(self._all_heard, 30, "the first second of each host")
        for host in self.hosts:
            host.play()

    def _all_heard(self) -> bool:
        with self.running.client() as client:
            return all(any(client.windows(host.id.hex())) for host in self.hosts)

    @property
    def running(self) -> Collector:
        assert self.collector is not None
        return self.collector

    def status(self) -> CollectorStatus:
        with self.running.client() as client:
            return client.status()

    def kill_collector(self) -> None:
        """SIGKILL it, and keep what only its memory knew."""
        try:
            self.duplicates += self.status().duplicates_absorbed
        except ChipwattError:
            self.note = "duplicates of a dead collector are not counted"
        self.running.kill()

    def more(self, seconds: int, within_s: float = 40) -> None:
        """Return once this many more host seconds are stored."""
        wanted = self.status().host_seconds_stored + seconds
        until(lambda: self.status().host_seconds_stored >= wanted, within_s, "more seconds stored")

    def finish(self, runs: int = 1, **rules: Any) -> Counts:
        """End the load and the agents in order, and audit."""
        for host in self.hosts:
            host.rest()
        for host in self.hosts:
            code = host.running.stop(60)
            assert code == 0, f"agent ended with {code}: {host.running.said()[-2000:]}"
        return self.audit(runs, **rules)

    def audit(
        self,
        runs: int = 1,
        *,
        may_lose: Callable[[list[reference.Key]], bool] = lambda lost: not lost,
        drained: bool = True,
        truth: Mapping[str, int] | None = None,
    ) -> Counts:
        """Check I1 to I4 by the reference ledger; raises AssertionError with what it found."""
        for host in self.hosts:
            host.look()
        waiting = sum(host.waiting for host in self.hosts)
        assert not drained or not waiting, f"{waiting} records still wait in the spool"
        with self.running.client() as client:
            stored = dumps.stored(self.store)
            windows, gaps = dumps.windows(client), dumps.gaps(client)
            status = client.status()
            seconds = [
                (host.host_id, second.start_mono_ns)
                for host in list(client.hosts())
                for second in client.host_seconds(host.host_id)
            ]
        seen = set().union(*(host.seen for host in self.hosts))
        spooled: set[reference.Key] = set()
        for host in self.hosts:
            spooled |= dumps.keys(host.id, dumps.spooled(host.state / "spool"))
        lost = reference.lost(seen, stored | spooled)
        assert may_lose(lost), f"I1 records lost: {lost[:5]} ({len(lost)})"
        if truth is None:
            truth = {name: value for host in self.hosts for name, value in host.truth().items()}
        found = reference.faults(windows, gaps, truth)
        assert not found, "; ".join(found[:4])
        twice = len(seconds) - len(set(seconds))
        assert not twice, f"I2 {twice} host seconds are stored twice"
        self._check_words()
        written = len(stored | spooled | seen)
        return Counts(
            runs,
            written,
            written - waiting,
            len(stored),
            self.duplicates + status.duplicates_absorbed,
            len(gaps),
            self.note,
        )

    def _check_words(self) -> None:
        programs = [self.collector, *(host.agent for host in self.hosts)]
        for program in programs:
            said = program.said() if program is not None else ""
            assert "Traceback" not in said, said[said.index("Traceback") :][:1500]
