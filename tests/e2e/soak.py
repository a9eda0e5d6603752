"""``python -m tests.e2e.soak``: a day of random faults, time-scaled, and I1 to I7 at its end.

Two hosts and a collector. One host and the collector meet faults of the matrix
one after the other, with pauses that stand for hours; the other host is left in
peace and must not notice. Row 20 of the matrix.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from e2e.faults.bench import Bench, Host
from e2e.faults.outages import boot
from e2e.faults.rows import NEEDS, Case, Counts
from e2e.programs import until
from fakes.machine_faults import WRITING, Kind
from fakes.relay import Relay

FAULTS_A_DAY = 48
LEAST_PAUSE_S = 0.5
MOST_GROWTH_BYTES = 6 << 20
"""Of a process in peace, from the first quarter to the end: allocators settle, leaks do not."""


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Soak:
    """The faults, each mended before it returns."""

    def __init__(self, bench: Bench, relay: Relay, chance: random.Random) -> None:
        self.bench, self.relay, self.chance = bench, relay, chance
        self.victim, self.calm = bench.hosts
        self.done: Counter[str] = Counter()
        self.resident: list[tuple[float, int, int]] = []
        """(seconds, bytes of the calm agent, bytes of the collector)."""
        self.quiet_collector = False
        """From half time on the collector lives, so that its memory can be watched."""
        self._faults: list[Callable[[], None]] = [
            self.kill_agent, self.kill_sensing, self.kill_collector, self.cut, self.hold,
            self.slow_network, self.agent_disk, self.agent_power, self.collector_full,
            self.collector_slow, self.stop_collector, self.stop_agent, self.counter_reset,
            self.reboot,
        ]  # fmt: skip

    def some_time(self) -> None:
        time.sleep(self.chance.uniform(0.5, 3.0))

    def one(self) -> str:
        """Let one fault happen; returns its name."""
        fault = self.chance.choice(self._faults)
        fault()
        name = fault.__name__
        self.done[name] += 1
        return name

    def watch(self, at_s: float) -> None:
        collector = resident_bytes(self.bench.running.pid) if self.quiet_collector else 0
        self.resident.append((at_s, resident_bytes(self.calm.running.pid), collector))

    def _restart(self, host: Host) -> None:
        host.start(self.relay.address)
        until(lambda: host.running.status().get("pid") == host.running.pid, 40, "an agent")

    def kill_agent(self) -> None:
        self.victim.kill()
        self._restart(self.victim)

    def kill_sensing(self) -> None:
        pid = until(lambda: self.victim.running.status().get("sensing", {}).get("pid"))
        os.kill(pid, signal.SIGKILL)
        self.some_time()

    def kill_collector(self) -> None:
        if self.quiet_collector:
            return self.cut()
        self.bench.kill_collector()
        self.some_time()
        self.bench.start_collector()
        return None

    def cut(self) -> None:
        self.relay.cut()
        self.some_time()
        self.relay.mend()

    def hold(self) -> None:
        self.relay.hold()
        self.some_time()
        self.relay.mend()

    def slow_network(self) -> None:
        self.relay.delay_s, self.relay.loss = 0.3, 0.2
        self.some_time()
        self.relay.delay_s, self.relay.loss = 0.0, 0.0

    def agent_disk(self) -> None:
        faults = self.victim.faults
        assert faults is not None
        error = self.chance.choice((errno.ENOSPC, errno.EIO, errno.EROFS))
        faults.fail(error, *WRITING)
        self.some_time()
        faults.fail(0, *WRITING)

    def agent_power(self) -> None:
        faults = self.victim.faults
        assert faults is not None
        self.victim.running.kill()
        faults.cut_power(self.chance)
        self._restart(self.victim)

    def collector_full(self) -> None:
        faults = self.bench.collector_faults
        assert faults is not None
        faults.fail(errno.ENOSPC, Kind.WRITE)
        self.some_time()
        faults.fail(0, Kind.WRITE)

    def collector_slow(self) -> None:
        faults = self.bench.collector_faults
        assert faults is not None
        faults.delay(100_000, Kind.SYNC)
        self.some_time()
        faults.delay(0, Kind.SYNC)

    def stop_collector(self) -> None:
        self._stop(self.bench.running.pid)

    def stop_agent(self) -> None:
        self._stop(self.victim.running.pid)

    def _stop(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        self.some_time()
        os.kill(pid, signal.SIGCONT)

    def counter_reset(self) -> None:
        self.victim.rest()
        for zone in self.victim.tree.zones:
            zone.reset()
        time.sleep(0.5)
        self.victim.play()

    def reboot(self) -> None:
        """What is not yet in the books is lost with a boot, so it waits for a moment of peace."""
        assert self.victim.agent is not None
        self.victim.rest()
        until(lambda: self.victim.running.status().get("state") == "ok", 40, "a sound disk")
        time.sleep(2.5)
        self.victim.kill()
        boot(self.victim, Case(self.bench.folder, self.chance, full=False))
        for zone in self.victim.tree.zones:
            zone.reset(self.chance.randrange(1000))
        self._restart(self.victim)
        self.bench.more(2, 60)
        self.victim.play()


def soak(folder: Path, hours: float, scale: float, seed: int, say: Callable[[str], None]) -> Counts:
    """Run it; raises AssertionError with the first invariant that does not hold."""
    chance = random.Random(seed)
    case = Case(folder, chance, full=True)
    seconds = hours * 3600 / scale
    pause_s = max(LEAST_PAUSE_S, seconds / (hours / 24 * FAULTS_A_DAY) / 2)
    with (
        Bench(case, hosts=2, power=True, collector_faults=True) as bench,
        Relay(bench.address, seed) as relay,
    ):
        running = Soak(bench, relay, chance)
        boot(running.victim, case)
        bench.start_collector()
        running.victim.start(relay.address)
        running.calm.start(bench.address)
        until(lambda: bench.status().device_windows_stored >= 8, 40, "the first seconds")
        for host in bench.hosts:
            host.play()
        began_s = time.monotonic()
        while (at_s := time.monotonic() - began_s) < seconds:
            running.quiet_collector = at_s > seconds / 2
            name = running.one()
            running.watch(at_s)
            say(f"{at_s / seconds * hours:5.1f} h  {name}")
            time.sleep(chance.uniform(0.5, 1.5) * pause_s)
        until(lambda: all(_drained(host) for host in bench.hosts), 120, "every backlog drained")
        running.watch(seconds)
        restarts = running.calm.running.status()["sensing"]["restarts"]
        assert not restarts, "I6 the host in peace was disturbed"
        counts = bench.finish(running.done.total())
    agent, collector = (_growth(running.resident, which) for which in (1, 2))
    assert agent < MOST_GROWTH_BYTES, f"I5 the agent in peace grew by {agent} bytes"
    assert collector < 2 * MOST_GROWTH_BYTES, f"I5 the collector grew by {collector} bytes"
    faults = ", ".join(f"{name} {count}" for name, count in sorted(running.done.items()))
    counts.note = f"{faults}; growth: agent {agent >> 10} KiB, collector {collector >> 10} KiB"
    return counts


def _drained(host: Host) -> bool:
    return int(host.running.status().get("spool", {}).get("unacked", 99)) <= 1


def _growth(samples: Sequence[tuple[float, int, int]], which: int) -> int:
    """Return least-squares growth in bytes over the watched time, its first quarter left out."""
    points = [(sample[0], sample[which]) for sample in samples if sample[which]]
    points = points[len(points) // 4 :]
    if len(points) < 3:
        return 0
    mean_s = sum(at for at, _ in points) / len(points)
    mean_bytes = sum(size for _, size in points) / len(points)
    spread = sum((at - mean_s) ** 2 for at, _ in points)
    slope = sum((at - mean_s) * (size - mean_bytes) for at, size in points) / spread
    return round(slope * (points[-1][0] - points[0][0]))


def main() -> int:
    """Run what the command line asks for; 0 where every invariant held."""
    parser = argparse.ArgumentParser("python -m tests.e2e.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=24, help="of the fleet's time (24)")
    parser.add_argument("--scale", type=float, default=600, help="how much faster it runs (600)")
    parser.add_argument("--seed", type=int, help="as printed by an earlier run")
    args = parser.parse_args()
    seed = secrets.randbits(32) if args.seed is None else args.seed
    print(f"soak of {args.hours:g} h at {args.scale:g} times real time, seed {seed}", flush=True)
    why = NEEDS["compiler"]()
    if why:
        print(f"SKIP: {why}")
        return 0
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        counts = soak(folder, args.hours, args.scale, seed, lambda text: print(text, flush=True))
    except AssertionError as error:
        print(f"FAIL: {error} (files kept in {folder})")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    print(
        f"PASS: {counts.runs} faults, records written {counts.written}, acked {counts.acked}, "
        f"stored {counts.stored}, duplicates absorbed {counts.duplicates}, gaps {counts.gaps}"
    )
    print(counts.note)
    return 0


if __name__ == "__main__":
    sys.exit(main())
