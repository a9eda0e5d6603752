"""How long acks take while another host sends garbage, or as much as it can.

Run ``python -m tests.bench.fairness``. Twenty hosts send a batch each 0.1 s to a real
collector in this process, beside nobody, or beside one host that means no good, or
while the store rolls a day of 64 hosts up.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from chipwatt.collector.latest import Latest
from chipwatt.collector.store.config import DAY_NS
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.wire import digest
from unit.collector.ingest.agents import Agent, Ended, Served, served, wire
from unit.collector.store.batches import DAY0_UNIX_NS, FakeHost, config

HOSTS = 20
ROUNDS = 60
MOST = 3.0
GARBAGE = b"\xff" * 200_000
Nuisance = Callable[[Served, SqliteStore], Coroutine[None, None, None]]


async def nothing(_: Served, __: SqliteStore) -> None:
    """Leave the hosts alone."""


async def garbage(collector: Served, _: SqliteStore) -> None:
    """Send what no schema knows, as fast as it is taken."""
    host = FakeHost(1_000)
    batch = wire(host.batch(), payload=GARBAGE, digest=digest(GARBAGE))
    await pour(collector, host, [batch] * 100_000)


async def flood(collector: Served, _: SqliteStore) -> None:
    """Send the largest batches there are, as fast as they are taken."""
    host = FakeHost(1_001, devices=1)
    await pour(collector, host, [wire(host.batch(windows=300)) for _ in range(120)])


async def conflicts(collector: Served, _: SqliteStore) -> None:
    """Contradict what is stored, as fast as it is taken."""
    host, clone = FakeHost(1_002), FakeHost(1_002)
    clone.start_unix_ns += 1
    await pour(collector, host, [wire(host.batch()), *[wire(clone.batch())] * 100_000])


async def retire(_: Served, store: SqliteStore) -> None:
    """Roll up a day of 64 hosts."""
    await asyncio.to_thread(store.expire, DAY0_UNIX_NS + 30 * DAY_NS)


async def pour(collector: Served, host: FakeHost, batches: list[object]) -> None:
    async with Agent(collector.address, host.host) as agent:
        await agent.hello()
        answers = asyncio.create_task(drink(agent))
        for batch in batches:
            await agent.send(batch)  # type: ignore[arg-type]
        await answers


async def drink(agent: Agent) -> None:
    with suppress(Ended):
        while True:
            await agent.receive()


async def one(collector: Served, host: FakeHost, took_s: list[float]) -> None:
    async with Agent(collector.address, host.host) as agent:
        await agent.hello()
        for _ in range(ROUNDS):
            batch = wire(host.batch())
            began_s = time.perf_counter()
            await agent.send(batch)
            await agent.acked(batch.sequence)
            took_s.append(time.perf_counter() - began_s)
            await asyncio.sleep(0.1)


async def measure(name: str, nuisance: Nuisance) -> float:
    with tempfile.TemporaryDirectory() as folder:
        store, latest = SqliteStore(config(Path(folder) / "store")), Latest()
        for n in range(64 if nuisance is retire else 0):
            old = FakeHost(n)
            store.commit([old.batch(windows=300) for _ in range(8)])
        async with served(store) as collector:
            collector.ingest.committer.on_committed.append(latest.on_commit)
            took_s: list[float] = []
            bad = asyncio.create_task(nuisance(collector, store))
            await asyncio.gather(*(one(collector, FakeHost(n + 100), took_s) for n in range(HOSTS)))
            bad.cancel()
            await asyncio.gather(bad, return_exceptions=True)
        store.close()
    cuts = statistics.quantiles(took_s, n=100)
    print(f"{name:<22}{cuts[49] * 1e3:9.1f}{cuts[98] * 1e3:9.1f}{max(took_s) * 1e3:9.1f}")
    return cuts[98]


def main() -> int:
    """Print a line a nuisance and the verdict; 1 where one made the p99 thrice as long."""
    print(f"{'another host':<22}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    quiet_s, *others_s = (
        asyncio.run(measure(nuisance.__name__, nuisance))
        for nuisance in (nothing, garbage, flood, conflicts, retire)
    )
    ratio = max(others_s) / quiet_s
    print(f"worst p99 {ratio:.2f} x that of a quiet fleet; at most {MOST} x")
    return int(ratio > MOST)


if __name__ == "__main__":
    sys.exit(main())
