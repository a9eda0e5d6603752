"""How those who are served fare while somebody else means no good.

Run ``python -m tests.bench.hostile_peers``. Six agents send a batch each 0.1 s over mutual TLS to
a real collector process, and an operator asks for its newest state ten times a second, beside
nobody, then beside each attack of ``hostile_attacks`` in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.hostile_attacks import ATTACKS, IDLE
from fakes.certified import Certified, credentials, issued
from fakes.collector_process import Running, collector
from unit.collector.ingest.agents import Agent, wire
from unit.collector.store.batches import FakeHost

AGENTS = 6
EVERY_S = 0.1
MOST_P99_S = 1.0
"""What the design asks of acks, here of answers too."""
MOST_RATIO, LEAST_S = 3.0, 0.1
"""A median may be so many times that of a quiet collector, or a tenth of a second."""
MOST_GROWTH_MIB = 64
_LATEST = "/chipwatt.v1.QueryService/GetLatest"


@dataclass
class Seen:
    """What the served ones saw during one attack."""

    acks_s: list[float] = field(default_factory=list)
    answers_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    before_mib: float = 0.0
    rss_mib: float = 0.0
    attacker: str = ""


async def send(agent: Agent, host: FakeHost, seen: Seen, until_s: float) -> None:
    while time.monotonic() < until_s:
        batch = wire(host.batch())
        began_s = time.perf_counter()
        await agent.send(batch)
        await agent.acked(batch.sequence)
        seen.acks_s.append(time.perf_counter() - began_s)
        await asyncio.sleep(EVERY_S)


async def ask(channel: Any, running: Running, seen: Seen, until_s: float) -> None:
    while time.monotonic() < until_s:
        began_s = time.perf_counter()
        await channel.unary_unary(_LATEST)(b"", timeout=20)
        seen.answers_s.append(time.perf_counter() - began_s)
        seen.rss_mib = max(seen.rss_mib, rss_mib(running.process.pid))
        await asyncio.sleep(EVERY_S)


def rss_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


async def measure(
    name: str, running: Running, folder: Path, seconds: float, hosts: list[FakeHost]
) -> Seen:
    """Serve as always while ``name`` goes on."""
    seen = Seen(before_mib=rss_mib(running.process.pid))
    command = [sys.executable, "-m", "tests.bench.hostile_attacks", name, running.address]
    process = await asyncio.create_subprocess_exec(
        *command, str(folder), str(seconds + 1), stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert process.stdout
    await process.stdout.readline()
    async with AsyncExitStack() as stack:
        agents = []
        for host in hosts:
            who = f"agent/good-{int.from_bytes(host.host)}"
            agent = Agent(running.address, bytes(16), credentials(folder, who))
            await stack.enter_async_context(agent)
            await agent.hello()
            agents.append(agent)
        reader = await stack.enter_async_context(issued(running.address, folder, "operator/ann"))
        until_s = time.monotonic() + seconds
        work = [send(agent, host, seen, until_s) for agent, host in zip(agents, hosts, strict=True)]
        results = await asyncio.gather(
            *work, ask(reader, running, seen, until_s), return_exceptions=True
        )
        seen.failures = [repr(result) for result in results if result is not None]
    said, _ = await process.communicate()
    got = json.loads(said)
    seen.attacker = ", ".join(f"{what} {count}" for what, count in got.items())
    return seen


def row(name: str, seen: Seen) -> str:
    cells = []
    for took_s in (seen.acks_s, seen.answers_s):
        longest_s = max(took_s, default=math.inf)
        cells += [f"{value * 1e3:9.1f}" for value in (*quantiles(took_s), longest_s)]
    return f"{name:<24}{''.join(cells)}{seen.rss_mib:7.0f}  {seen.attacker}"


def quantiles(took_s: list[float]) -> tuple[float, float]:
    if len(took_s) < 2:
        return math.inf, math.inf
    cuts = statistics.quantiles(took_s, n=100, method="inclusive")
    return cuts[49], cuts[98]


def measured(seconds: float, *, together: bool = False) -> dict[str, Seen]:
    """Return what was seen beside each attack; prints a line for each.

    ``together`` lets one collector bear them one after the other, which is quicker; else
    each meets a fresh one, so that memory is that of one attack.
    """
    print(f"{'':<24}{'acks, ms':^27}{'answers, ms':^27}")
    print(f"{'another peer':<24}{'p50':>9}{'p99':>9}{'max':>9}" + f"{'p50':>9}{'p99':>9}{'max':>9}"
          f"{'MiB':>7}  what it got")  # fmt: skip
    found: dict[str, Seen] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = certify(folder)
        for part in [list(ATTACKS)] if together else [[attack] for attack in ATTACKS]:
            state = folder / part[0]
            state.mkdir()
            with collector(state, *options) as running:
                for attack in part:
                    # Each with hosts of its own: to come again with the same batches is a conflict.
                    hosts = [FakeHost(len(found) * AGENTS + n) for n in range(AGENTS)]
                    seen = asyncio.run(measure(attack, running, folder, seconds, hosts))
                    assert running.process.poll() is None
                    found[attack] = seen
                    print(row(attack, seen), flush=True)
    return found


def certify(folder: Path) -> tuple[str, ...]:
    """Issue what everybody needs; returns the options of a collector that believes it."""
    certified = Certified(folder)
    tls = certified.collector()
    for who in ("agent/evil", "placement/sched", "operator/ann"):
        certified.files(who)
    for number in range(IDLE):
        certified.files(f"agent/idle-{number}")
    for number in range(AGENTS * len(ATTACKS)):
        certified.files(f"agent/good-{number}")
    config = folder / "collector.toml"
    config.write_text(f'[tls]\nca = "{tls.ca}"\ncert = "{tls.cert}"\nkey = "{tls.key}"\n')
    return "--config", str(config)


def broken(found: dict[str, Seen]) -> list[str]:
    """Return a sentence for each bound that does not hold."""
    quiet = found["nobody"]
    wrong = []
    for name, seen in found.items():
        wrong += [f"{name.strip()}: a served client failed: {each}" for each in seen.failures]
        if seen.rss_mib > seen.before_mib + MOST_GROWTH_MIB:
            growth = f"from {seen.before_mib:.0f} to {seen.rss_mib:.0f} MiB"
            wrong.append(f"{name.strip()}: memory grew {growth}")
        for what in ("acks_s", "answers_s"):
            p50_s, p99_s = quantiles(getattr(seen, what))
            most_s = max(LEAST_S, MOST_RATIO * quantiles(getattr(quiet, what))[0])
            if p50_s > most_s or p99_s > MOST_P99_S:
                took = f"{p50_s * 1e3:.0f} ms in the median, {p99_s * 1e3:.0f} at p99"
                wrong.append(f"{name.strip()}: {what[:-2]} took {took}")
    return wrong


def main() -> int:
    """Print a line an attack and the verdict; 1 where somebody who is served felt one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="how long each goes on")
    wrong = broken(measured(parser.parse_args().seconds))
    held = (
        f"served as ever: nobody failed, every p99 below {MOST_P99_S:g} s, every median below "
        f"{MOST_RATIO:g} x that of a quiet collector or {LEAST_S * 1e3:.0f} ms, memory within "
        f"{MOST_GROWTH_MIB} MiB of what it was"
    )
    print("\n".join(wrong) or held)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
