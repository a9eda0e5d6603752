"""The collector's books through real streams: replays, full disks, clones, gaps that are open."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from chipwatt.collector.latest import Latest
from chipwatt.collector.query.queries import Queries
from chipwatt.collector.store.config import HOUR_NS
from chipwatt.collector.store.contract import IncomingBatch
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.clock import NS_PER_S, VirtualClock
from chipwatt.v1 import query_pb2 as pb
from unit.collector.ingest.agents import Agent, Ended, Served, admitted, served, wire
from unit.collector.store.batches import DAY0_UNIX_NS, FakeHost, config

ALL = (0, 1 << 62)
WEEK_NS = 7 * 24 * HOUR_NS


def dump(store: SqliteStore) -> list[object]:
    """Return everything that is stored, in an order of its own."""
    found: list[object] = [(stream.host, stream.seen) for stream in store.streams()]
    for host in sorted(store.host_dictionary()):
        for rows in (store.windows(host, *ALL), store.host_seconds(host, *ALL)):
            found += sorted(map(repr, rows))
        found += [*map(repr, store.gaps(host, *ALL)), *map(repr, store.sensors(host))]
    totals = store.totals()
    check = store.energy_check()
    found += [totals.batches, totals.gaps, totals.root_energy_uj, check.holes, check.twice_uj]
    return found


def deliver(store: SqliteStore, streams: list[list[IncomingBatch]], now_unix_ns: int) -> None:
    """Send each list of batches as one stream, one after the other."""

    async def main() -> None:
        async with served(store, clock=VirtualClock(now_unix_ns)) as collector:
            for batches in streams:
                async with Agent(collector.address, batches[0].key.host) as agent:
                    await agent.hello(sent_unix_ns=now_unix_ns)
                    for batch in batches:
                        await agent.send(wire(batch))
                    await agent.finish()
            assert not collector.ingest.counters.conflicts

    asyncio.run(main())


def test_duplicates_reorder_splits_and_last_weeks_replay_change_nothing(tmp_path: Path) -> None:
    host = FakeHost(1)
    made = [host.batch(host.records(gap=n == 3)) for n in range(30)]
    plain, wild = (SqliteStore(config(tmp_path / name)) for name in ("plain", "wild"))
    deliver(plain, [made], host.start_unix_ns)
    dice = random.Random(11)
    thrice = made * 3
    dice.shuffle(thrice)
    cuts = sorted(dice.sample(range(1, len(thrice)), 6))
    split = [thrice[a:b] for a, b in zip([0, *cuts], [*cuts, len(thrice)], strict=True)]
    deliver(wild, split, host.start_unix_ns)
    for store in (plain, wild):
        store.compact(host.start_unix_ns + HOUR_NS)
    assert dump(plain) == dump(wild)
    deliver(wild, [made], host.start_unix_ns + WEEK_NS)
    wild.compact(host.start_unix_ns + WEEK_NS + HOUR_NS)
    assert dump(plain) == dump(wild)
    plain.close()
    wild.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB that can be remounted larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if (
        shutil.which("mount") is None
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def enlarge(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)


async def fill(collector: Served, host: FakeHost, sent: list[IncomingBatch]) -> int:
    """Send until the collector has no room; return what it acked last."""
    acked = 0
    async with Agent(collector.address, host.host) as agent:
        await agent.hello()
        try:
            while True:
                sent.append(host.batch(windows=100))
                await agent.send(wire(sent[-1]))
                acked = (await agent.receive()).ack.sequence
        except Ended as ended:
            if ended.code is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            return acked


def test_a_full_disk_refuses_with_a_hint_reads_on_and_recovers(small_disk: Path) -> None:
    host = FakeHost(1)

    async def main() -> None:
        store = SqliteStore(config(small_disk / "store"))
        sent: list[IncomingBatch] = []
        async with served(store, clock=VirtualClock(host.start_unix_ns)) as collector:
            acked = await fill(collector, host, sent)
            stored = store.windows(host.host, *ALL)
            assert len(stored) >= acked * 200, "reads are served, and what was acked is there"
            assert store.totals().batches == acked < len(sent)
            resumed, loop = asyncio.Event(), asyncio.get_running_loop()

            def tell(_: object) -> None:
                loop.call_soon_threadsafe(resumed.set)

            collector.ingest.committer.on_committed.append(tell)
            await asyncio.to_thread(enlarge, small_disk)
            await asyncio.wait_for(resumed.wait(), 30)
            async with admitted(collector.address, host.host) as agent:
                for batch in sent:
                    await agent.send(wire(batch))
                await agent.acked(len(sent))
        windows = store.windows(host.host, *ALL, limit=10**6)
        assert sum(w.energy_uj for w in windows) == host.sent_uj
        store.close()

    asyncio.run(main())


def test_clones_open_gaps_and_clocks_can_be_asked_for(tmp_path: Path) -> None:
    host, clone = FakeHost(1), FakeHost(1)
    clone.start_unix_ns += 77
    store, latest = SqliteStore(config(tmp_path / "store")), Latest()
    clock = VirtualClock(DAY0_UNIX_NS + 12 * NS_PER_S)

    async def main() -> None:
        async with served(store, clock=clock) as collector:
            collector.ingest.committer.on_committed.append(latest.on_commit)
            queries = Queries(
                store,
                latest,
                collector.ingest.connected,
                facts=collector.ingest.facts,
                now_unix_ns=clock.unix_ns,
            )
            async with Agent(collector.address, host.host) as agent:
                await agent.hello(sent_unix_ns=clock.unix_ns() + 3 * NS_PER_S)
                await agent.send(wire(host.batch()))
                await agent.acked(1)
                await agent.send(wire(clone.batch()))
                assert (await agent.receive()).HasField("refusal")
                host.sequence += 4
                await agent.send(wire(host.batch(), sent_unix_ns=clock.unix_ns() + 5 * NS_PER_S))
                await agent.acked(6)
            (listed,) = queries.list_hosts(pb.ListHostsRequest()).hosts
            assert listed.clock_offset_ns == 5 * NS_PER_S
            assert listed.missing_batches == 4
            assert {c.reason: c.count for c in listed.counted} == {"conflicts": 1}
            (conflict,) = queries.list_conflicts(pb.ListConflictsRequest()).conflicts
            assert (conflict.host_id, conflict.sequence) == (host.host.hex(), 1)
            asked = pb.ListGapsRequest(host_id=host.host.hex())
            assert not queries.list_gaps(asked).open_gaps
            clock.sleep_until(HOUR_NS)
            gaps = queries.list_gaps(asked).open_gaps
            assert {g.reason for g in gaps} == {pb.OPEN_GAP_REASON_HOST_SILENT}
            assert {g.start_unix_ns for g in gaps} == {host.start_unix_ns}
            assert {g.start_unix_ns + g.duration_ns for g in gaps} == {clock.unix_ns()}
            asked.end_unix_ns = host.start_unix_ns
            assert not queries.list_gaps(asked).open_gaps, "they begin after what is asked for"

    asyncio.run(main())
    store.close()
