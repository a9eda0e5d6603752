"""Group commit without a network: groups, the order of things, patience."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from chipwatt.collector.ingest.commit import GROUP_ROWS, Committer, Outcome
from chipwatt.collector.ingest.counters import IngestCounters
from chipwatt.collector.store.config import DAY_NS
from chipwatt.collector.store.contract import IncomingBatch
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.collector.store.stream_book import RECENT_DIGESTS
from unit.collector.store.batches import DAY0_UNIX_NS, FakeHost, config


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(config(tmp_path / "store"))


def test_batches_of_many_streams_are_committed_together(store: SqliteStore) -> None:
    groups: list[int] = []

    async def scenario() -> None:
        counters = IngestCounters()
        committer = Committer(store, counters)
        committer.on_committed.append(lambda batches: groups.append(len(batches)))
        hosts = [FakeHost(n) for n in range(40)]
        futures = [await committer.submit(host.batch()) for host in hosts]
        committer.start()
        assert [await future for future in futures] == [Outcome.STORED] * 40
        assert await committer.drain()
        assert counters.batches == 40

    asyncio.run(scenario())
    assert groups == [40]
    assert store.totals().batches == 40
    store.close()


def test_twice_in_one_group_is_once_on_disk(store: SqliteStore) -> None:
    async def scenario() -> None:
        counters = IngestCounters()
        committer = Committer(store, counters)
        host, clone = FakeHost(1), FakeHost(1)
        clone.start_unix_ns += 1
        batch, other = host.batch(), clone.batch()
        futures = [await committer.submit(one) for one in (batch, batch, other, batch)]
        committer.start()
        outcomes = [await future for future in futures]
        assert outcomes == [Outcome.STORED, Outcome.STORED, Outcome.CONFLICT, Outcome.STORED]
        assert (counters.batches, counters.duplicates, counters.conflicts) == (1, 2, 1)
        await committer.drain()

    asyncio.run(scenario())
    assert store.totals().batches == 1
    store.close()


def test_a_failing_listener_does_not_undo_a_commit(store: SqliteStore) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("listener")

    async def scenario() -> None:
        committer = Committer(store, IngestCounters())
        committer.on_committed.append(fail)
        committer.start()
        assert await (await committer.submit(FakeHost(1).batch())) is Outcome.STORED
        await committer.drain()

    asyncio.run(scenario())
    store.close()


def test_a_clock_that_runs_ahead_is_counted_and_its_rows_are_kept(store: SqliteStore) -> None:
    async def scenario() -> None:
        counters = IngestCounters()
        committer = Committer(store, counters)
        committer.start()
        batch = FakeHost(1).batch()
        early = IncomingBatch(batch.key, batch.digest, DAY0_UNIX_NS - 3600 * 10**9, batch.tables)
        assert await (await committer.submit(early)) is Outcome.STORED
        assert counters.rows["ahead"] == 12
        assert counters.hosts[batch.key.host]["ahead"] == 12
        await committer.drain()

    asyncio.run(scenario())
    assert store.totals().device_windows == 2
    store.close()


def test_drain_says_where_it_could_not(store: SqliteStore) -> None:
    async def scenario() -> None:
        committer = Committer(store, IngestCounters())
        committer.start()
        store.close()
        future = await committer.submit(FakeHost(1).batch())
        assert not await committer.drain(timeout_s=0.1)
        assert not future.done()
        assert "the store is closed" in committer.stalled

    asyncio.run(scenario())


def test_a_host_that_floods_leaves_every_other_its_turn(store: SqliteStore) -> None:
    groups: list[Counter[bytes]] = []

    async def scenario() -> None:
        counters = IngestCounters()
        committer = Committer(store, counters)
        committer.on_committed.append(
            lambda batches: groups.append(Counter(batch.key.host for batch in batches))
        )
        flood, quiet = FakeHost(1), [FakeHost(n) for n in range(2, 12)]
        futures = [await committer.submit(flood.batch(windows=40)) for _ in range(60)]
        futures += [await committer.submit(host.batch()) for host in quiet]
        committer.start()
        assert {await future for future in futures} == {Outcome.STORED}
        await committer.drain()
        assert groups[0].keys() == {host.host for host in (flood, *quiet)}
        rows = groups[0][flood.host] * 40 * 12 + 10 * 12
        assert rows <= GROUP_ROWS, "what a commit costs is bounded, too"

    asyncio.run(scenario())
    store.close()


def test_a_clone_is_recognised_by_batches_of_long_ago(store: SqliteStore) -> None:
    async def scenario() -> None:
        counters = IngestCounters()
        committer = Committer(store, counters)
        committer.start()
        host, clone = FakeHost(1), FakeHost(1)
        clone.start_unix_ns += 1
        first, other = host.batch(), clone.batch()
        for batch in (first, *(host.batch() for _ in range(2 * RECENT_DIGESTS))):
            await committer.submit(batch)
        assert await (await committer.submit(other)) is Outcome.CONFLICT
        store.compact(host.start_unix_ns + DAY_NS)
        assert await (await committer.submit(other)) is Outcome.CONFLICT
        assert await (await committer.submit(first)) is Outcome.STORED
        assert (counters.conflicts, counters.duplicates, counters.unverified) == (2, 1, 0)
        store.expire(host.start_unix_ns + 40 * DAY_NS)
        assert await (await committer.submit(other)) is Outcome.STORED
        assert counters.unverified == 1
        await committer.drain()

    asyncio.run(scenario())
    assert [conflict.key.sequence for conflict in store.conflicts()] == [1, 1]
    store.close()


def test_a_stream_of_holes_is_refused_in_the_end(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chipwatt.collector.ingest.dedupe.MAX_FRAGMENTS", 3)

    async def scenario() -> None:
        counters = IngestCounters()
        committer = Committer(store, counters)
        committer.start()
        host = FakeHost(1)
        outcomes = []
        for _ in range(5):
            host.sequence += 1
            outcomes.append(await (await committer.submit(host.batch())))
        assert outcomes == [Outcome.STORED] * 3 + [Outcome.REFUSED] * 2
        assert counters.refused == {"fragments": 2}
        assert counters.hosts[host.host] == {"fragments": 2}
        assert committer.missing() == {host.host: 2}
        await committer.drain()

    asyncio.run(scenario())
    store.close()
