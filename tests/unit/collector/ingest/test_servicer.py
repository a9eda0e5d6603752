"""The service through real gRPC: hello, acks after the commit, refusals, replacement, drain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import grpc
import pytest
import zstandard

from chipwatt.collector.ingest.commit import RETRY_MOST_S
from chipwatt.collector.store.contract import IncomingBatch
from chipwatt.collector.store.dictionary import Dictionary
from chipwatt.collector.store.intake import Intake
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.collector.store.stream_book import StreamBook
from chipwatt.core.codec import encode_tables
from chipwatt.core.retry_hint import retry_delay_s
from chipwatt.core.wire import MAX_PAYLOAD_BYTES, digest
from chipwatt.v1 import telemetry_pb2 as pb
from unit.collector.ingest.agents import Agent, Ended, Served, admitted, served, wire
from unit.collector.store.batches import FakeHost, config


def run(tmp_path: Path, scenario: Callable[[SqliteStore, Served], Awaitable[None]]) -> None:
    async def main() -> None:
        store = SqliteStore(config(tmp_path / "store"))
        try:
            async with served(store) as collector:
                await scenario(store, collector)
        finally:
            store.close()

    asyncio.run(main())


def test_batches_are_acked_once_they_are_stored(tmp_path: Path) -> None:
    async def scenario(store: SqliteStore, collector: Served) -> None:
        host = FakeHost(1)
        stored: list[IncomingBatch] = []
        collector.ingest.committer.on_committed.append(stored.extend)
        async with Agent(collector.address, host.host) as agent:
            welcome = (await agent.hello()).welcome
            assert welcome.schema_version == 1
            assert welcome.max_batch_bytes == MAX_PAYLOAD_BYTES
            assert welcome.max_in_flight >= 1
            for _ in range(50):
                await agent.send(wire(host.batch()))
            await agent.acked(50)
            assert store.totals().batches == 50
            assert len(stored) == 50
            assert collector.ingest.counters.batches == 50
            assert collector.ingest.connected() == {host.host}
            row = store.hosts()[0]
            assert (row.host, row.agent_version) == (host.host, 1_002_003)
            assert row.clock_offset_ns == 1_800_000_000 * 10**9 - row.first_seen_unix_ns
            await agent.call.done_writing()
            with pytest.raises(Ended, match="OK"):
                await agent.receive()
        assert collector.ingest.counters.connected == 0

    run(tmp_path, scenario)


def test_duplicates_are_acked_and_stored_once(tmp_path: Path) -> None:
    async def scenario(store: SqliteStore, collector: Served) -> None:
        host = FakeHost(1)
        batches = [wire(host.batch()) for _ in range(5)]
        for _ in range(2):
            async with Agent(collector.address, host.host) as agent:
                await agent.hello()
                for batch in (*batches, *batches):
                    await agent.send(batch)
                while collector.ingest.counters.duplicates % 5 == 0:
                    await agent.receive()
                    await asyncio.sleep(0)
                    if collector.ingest.counters.duplicates >= 5:
                        break
        assert store.totals().batches == 5

    run(tmp_path, scenario)


def test_a_conflict_is_refused_put_aside_and_the_first_stays(tmp_path: Path) -> None:
    async def scenario(store: SqliteStore, collector: Served) -> None:
        host, clone = FakeHost(1), FakeHost(1)
        clone.start_unix_ns += 77
        first, other = host.batch(), clone.batch()
        async with Agent(collector.address, host.host) as agent:
            await agent.hello()
            await agent.send(wire(first))
            await agent.send(wire(other))
            assert (await agent.receive()).ack.sequence == 1
            refusal = (await agent.receive()).refusal
            assert refusal.reason == pb.REFUSAL_REASON_CONFLICT
            assert (refusal.spool_epoch, refusal.sequence) == (7, 1)
            await agent.send(wire(host.batch()))
            assert (await agent.receive()).ack.sequence == 2
        assert collector.ingest.counters.conflicts == 1
        (aside,) = store.quarantined()
        assert (aside.key, aside.digest) == (other.key, other.digest)
        assert aside.payload == encode_tables(other.tables)
        assert {w.start_unix_ns for w in store.windows(host.host, 0, 1 << 62)} == {
            host.start_unix_ns - 20 * 10**9,
            host.start_unix_ns - 10 * 10**9,
        }

    run(tmp_path, scenario)


def test_bad_batches_are_refused_counted_and_harm_nobody(tmp_path: Path) -> None:
    async def scenario(store: SqliteStore, collector: Served) -> None:
        host = FakeHost(1)
        good = host.batch()
        payload = encode_tables(good.tables)
        bomb = zstandard.compress(bytes(64 << 20))
        bad = {
            "digest": wire(good, digest=bytes(16)),
            "key": wire(good, boot_id=b"short"),
            "payload": wire(good, payload=b"\xff" * 9, digest=digest(b"\xff" * 9)),
            "encoding": wire(good, encoding=99),
        }
        async with Agent(collector.address, host.host) as agent:
            await agent.hello()
            for reason, batch in bad.items():
                await agent.send(batch)
                refusal = (await agent.receive()).refusal
                assert refusal.reason == pb.REFUSAL_REASON_INVALID, reason
            await agent.send(wire(good, encoding=pb.ENCODING_ZSTD, payload=bomb))
            assert (await agent.receive()).refusal.reason == pb.REFUSAL_REASON_TOO_LARGE
            await agent.send(wire(good, payload=bytes(MAX_PAYLOAD_BYTES + 1)))
            assert (await agent.receive()).refusal.reason == pb.REFUSAL_REASON_TOO_LARGE
            packed = zstandard.compress(payload)
            await agent.send(wire(good, encoding=pb.ENCODING_ZSTD, payload=packed))
            assert (await agent.receive()).ack.sequence == 1
        assert collector.ingest.counters.refused == {**dict.fromkeys(bad, 1), "too large": 2}
        assert store.totals().batches == 1

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"schema_version": 2}, grpc.StatusCode.FAILED_PRECONDITION, "speaks schema 2"),
        ({"host_id": b"x"}, grpc.StatusCode.INVALID_ARGUMENT, "host_id has 1 bytes"),
        ({"boot_id": b""}, grpc.StatusCode.INVALID_ARGUMENT, "boot_id has 0 bytes"),
    ],
)
def test_a_wrong_hello_ends_in_a_sentence(
    tmp_path: Path, changes: dict[str, object], code: grpc.StatusCode, message: str
) -> None:
    async def scenario(_: SqliteStore, collector: Served) -> None:
        async with Agent(collector.address, b"h" * 16) as agent:
            with pytest.raises(Ended, match=message) as ended:
                await agent.hello(**changes)
            assert ended.value.code is code

    run(tmp_path, scenario)


def test_a_stream_that_breaks_the_protocol_ends(tmp_path: Path) -> None:
    async def scenario(_: SqliteStore, collector: Served) -> None:
        async with Agent(collector.address, b"h" * 16) as agent:
            await agent.send(wire(FakeHost(1).batch()))
            with pytest.raises(Ended, match="INVALID_ARGUMENT: a stream begins with a hello"):
                await agent.receive()
        async with Agent(collector.address, b"h" * 16) as agent:
            await agent.hello()
            with pytest.raises(Ended, match="INVALID_ARGUMENT: after its hello"):
                await agent.hello()
        async with Agent(collector.address, b"h" * 16) as agent:
            await agent.call.done_writing()
            with pytest.raises(Ended, match="ended before its hello"):
                await agent.receive()
        assert collector.ingest.connected() == set()

    run(tmp_path, scenario)


def test_the_newer_stream_of_a_host_wins(tmp_path: Path) -> None:
    async def scenario(_: SqliteStore, collector: Served) -> None:
        host = FakeHost(1)
        async with (
            Agent(collector.address, host.host) as older,
            Agent(collector.address, host.host) as newer,
        ):
            await older.hello()
            await newer.hello()
            with pytest.raises(Ended, match="a newer stream of the same host"):
                await older.receive()
            await newer.send(wire(host.batch()))
            assert (await newer.receive()).ack.sequence == 1
            assert collector.ingest.connected() == {host.host}

    run(tmp_path, scenario)


def test_a_full_disk_sends_agents_away_with_a_hint_and_loses_nothing(tmp_path: Path) -> None:
    async def scenario(store: SqliteStore, collector: Served) -> None:
        host = FakeHost(1)
        first, second = host.batch(), host.batch(windows=110)
        async with Agent(collector.address, host.host) as agent:
            await agent.hello()
            await agent.send(wire(first))
            assert (await agent.receive()).ack.sequence == 1
            writer = store._catalogue._writer
            with store._catalogue.lock:
                pages = writer.execute("PRAGMA page_count").fetchone()[0]
                writer.execute(f"PRAGMA max_page_count={pages}")
            await agent.send(wire(second))
            with pytest.raises(Ended, match="RESOURCE_EXHAUSTED: the collector's disk is full"):
                await agent.receive()
            trailing = list(await agent.call.trailing_metadata() or ())
            assert 0 < (retry_delay_s(trailing) or 0) <= RETRY_MOST_S
        assert "disk is full" in collector.ingest.committer.stalled
        assert len(store.windows(host.host, 0, 1 << 62)) == 2  # reads are still served
        async with Agent(collector.address, host.host) as agent:
            with pytest.raises(Ended, match="RESOURCE_EXHAUSTED"):
                await agent.hello()
        resumed, loop = asyncio.Event(), asyncio.get_running_loop()

        def tell(_: object) -> None:
            loop.call_soon_threadsafe(resumed.set)

        collector.ingest.committer.on_committed.append(tell)
        with store._catalogue.lock:
            writer.execute("PRAGMA max_page_count=1000000")
        await asyncio.wait_for(resumed.wait(), 20)  # by itself, nobody being connected
        async with admitted(collector.address, host.host) as agent:
            await agent.send(wire(second))
            await agent.acked(2)
        assert store.totals().batches == 2
        assert collector.ingest.counters.duplicates == 1  # what it had taken was kept
        assert collector.ingest.counters.store_failures >= 1
        assert collector.ingest.committer.stalled == ""

    run(tmp_path, scenario)


def test_a_batch_that_the_store_cannot_take_stops_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = FakeHost(66)

    def fragile(
        batches: Sequence[IncomingBatch], dictionary: Dictionary, book: StreamBook
    ) -> Intake:
        if any(batch.key.host == poison.host for batch in batches):
            raise OverflowError("a fault of ours")
        return Intake(batches, dictionary, book)

    monkeypatch.setattr("chipwatt.collector.store.sqlite_store.Intake", fragile)

    async def scenario(store: SqliteStore, collector: Served) -> None:
        host = FakeHost(1)
        async with (
            Agent(collector.address, host.host) as agent,
            Agent(collector.address, poison.host) as bad,
        ):
            await agent.hello()
            await bad.hello()
            for _ in range(10):
                await bad.send(wire(poison.batch()))
                await agent.send(wire(host.batch()))
            await agent.acked(10)
            assert (await bad.receive()).refusal.reason == pb.REFUSAL_REASON_INVALID
        assert store.totals().batches == 10

    run(tmp_path, scenario)


def test_drain_commits_and_acks_what_was_taken(tmp_path: Path) -> None:
    async def scenario(store: SqliteStore, collector: Served) -> None:
        host = FakeHost(1)
        async with Agent(collector.address, host.host) as agent:
            await agent.hello()
            for _ in range(8):
                await agent.send(wire(host.batch()))
            await agent.acked(1)
            assert await collector.ingest.drain()
            with pytest.raises(Ended, match="UNAVAILABLE: the collector is shutting down"):
                await agent.acked(100)
            assert store.totals().batches >= 1
        async with Agent(collector.address, host.host) as agent:
            with pytest.raises(Ended, match="UNAVAILABLE: the collector is shutting down"):
                await agent.hello()

    run(tmp_path, scenario)
