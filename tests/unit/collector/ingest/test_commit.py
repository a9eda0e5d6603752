"""Group commit without a network: groups, the order of things, patience."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chipwatt.collector.ingest.commit import Committer, Outcome
from chipwatt.collector.ingest.counters import IngestCounters
from chipwatt.collector.store.contract import IncomingBatch
from chipwatt.collector.store.sqlite_store import SqliteStore
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
        assert counters.ahead == 12
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
