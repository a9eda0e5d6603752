"""What a broken or hostile agent can send, through the real ingest into the real store.

The rows of the table of bad input that come over the wire. What is refused is
counted by reason, nothing of it is stored, and the same stream and every other
host go on. Not built, and so not here: a budget of devices for each host with
an ``other`` bucket, and the checks of agents against meters and peers.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import grpc
import numpy as np
import pytest

from chipwatt.collector.store.contract import IncomingBatch
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.codec import encode_tables
from chipwatt.core.columns import MAX_BUCKETS, MAX_POWER_MW, MAX_ROWS, SectionKind
from chipwatt.core.tables import Array, Table
from chipwatt.core.wire import digest
from chipwatt.v1 import telemetry_pb2 as pb
from integration.test_ingest_store import make_certificates
from unit.collector.ingest.agents import Agent, Ended, served, wire
from unit.collector.store.batches import DAY0_UNIX_NS, FakeHost, config

ALL = (0, 1 << 62)
WINDOW, SECOND, GAP, DEVICE = (
    SectionKind.DEVICE_WINDOW, SectionKind.HOST_SECOND, SectionKind.GAP, SectionKind.DEVICE,
)  # fmt: skip
NAN_BITS = int(np.array([np.nan]).view(np.uint64)[0])
INFINITY_BITS = int(np.array([np.inf]).view(np.uint64)[0])


def changed(table: Table, name: str, value: int, row: int = 0) -> Table:
    column = table[name].copy()
    column[row] = np.array([value & (1 << 8 * column.itemsize) - 1]).astype(column.dtype)[0]
    return Table(table.kind, table.rows, {**table.columns, name: column})


def spoiled(batch: IncomingBatch, tables: Mapping[SectionKind, Table]) -> pb.Batch:
    """Return the batch with other tables, its digest right."""
    payload = encode_tables({**batch.tables, **tables})
    return wire(batch, payload=payload, digest=digest(payload))


def refused_one_by_one(
    tmp_path: Path, make: Callable[[IncomingBatch], pb.Batch], reason: str
) -> None:
    """Send a bad batch, then the good one, while another host reports."""
    host, other = FakeHost(1), FakeHost(2)
    records = host.records(gap=True)
    good = host.batch(records)

    async def main() -> None:
        store = SqliteStore(config(tmp_path / "store"))
        async with served(store) as collector:
            async with (
                Agent(collector.address, host.host) as agent,
                Agent(collector.address, other.host) as neighbour,
            ):
                await agent.hello()
                await neighbour.hello()
                await agent.send(make(good))
                refusal = (await agent.receive()).refusal
                assert refusal.reason == pb.REFUSAL_REASON_INVALID
                await neighbour.send(wire(other.batch()))
                await neighbour.acked(1)
                await agent.send(wire(good))
                await agent.acked(1)
            assert collector.ingest.counters.refused == {reason: 1}
        windows = store.windows(host.host, *ALL)
        assert sum(w.energy_uj for w in windows) == host.sent_uj
        assert store.totals().batches == 2
        store.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (WINDOW, "energy_uj", -1),
        (WINDOW, "energy_uj", NAN_BITS),
        (WINDOW, "cumulative_uj", INFINITY_BITS),
        (WINDOW, "energy_uj", 2**63 - 16),
        (WINDOW, "cumulative_uj", 0),  # less than the energy of the window itself
        (WINDOW, "mean_mw", MAX_POWER_MW + 1),
        (WINDOW, "peak_100ms_mw", 2**32 - 2),
        (WINDOW, "coverage_ppm", 1_000_001),
        (WINDOW, "start_unix_ns", -1),
        (WINDOW, "start_unix_ns", 0),
        (WINDOW, "duration_ns", -1),
        (WINDOW, "domain", 0),
        (WINDOW, "domain", 200),
        (WINDOW, "interface", 0),
        (WINDOW, "method", 99),
        (WINDOW, "device", 2),
        (WINDOW, "hist_buckets", MAX_BUCKETS + 1),
        (SECOND, "cpu_mj", -1),
        (SECOND, "gpu_mj", NAN_BITS),
        (SECOND, "total_peak_mw", MAX_POWER_MW + 1),
        (GAP, "lower_uj", 1 << 60),  # above the upper bound
        (GAP, "upper_uj", -1),
        (GAP, "reason", 0),
        (DEVICE, "kind", 0),
        (DEVICE, "kind", 99),
    ],
)
def test_a_value_that_cannot_be_is_refused(
    tmp_path: Path, kind: SectionKind, name: str, value: int
) -> None:
    def make(batch: IncomingBatch) -> pb.Batch:
        return spoiled(batch, {kind: changed(batch.tables[kind], name, value)})

    refused_one_by_one(tmp_path, make, "payload")


def histogram_of(table: Table, buckets: int) -> Table:
    """Return a table whose first window has so many buckets, with as many counts."""
    bounds = table.ragged_bounds("hist_buckets")
    counts = np.concatenate([np.ones(buckets, "<u4"), table["hist_counts_ms"][bounds[1] :]])
    filled = Table(table.kind, table.rows, {**table.columns, "hist_counts_ms": counts})
    return changed(filled, "hist_buckets", buckets)


def test_one_bucket_too_many_is_refused(tmp_path: Path) -> None:
    def make(batch: IncomingBatch) -> pb.Batch:
        return spoiled(batch, {WINDOW: histogram_of(batch.tables[WINDOW], MAX_BUCKETS + 1)})

    refused_one_by_one(tmp_path, make, "payload")


def test_as_many_buckets_as_are_allowed_are_stored(tmp_path: Path) -> None:
    host = FakeHost(1)
    batch = host.batch()

    async def main() -> None:
        store = SqliteStore(config(tmp_path / "store"))
        async with served(store) as collector, Agent(collector.address, host.host) as agent:
            await agent.hello()
            await agent.send(
                spoiled(batch, {WINDOW: histogram_of(batch.tables[WINDOW], MAX_BUCKETS)})
            )
            await agent.acked(1)
        longest = max(len(w.profile.histogram.counts_ms) for w in store.windows(host.host, *ALL))
        assert longest == MAX_BUCKETS
        store.close()

    asyncio.run(main())


def flood(rows: int) -> Table:
    """Return a DEVICE section of devices that nobody has ever seen."""
    columns: dict[str, Array] = {
        "kind": np.full(rows, 2, "u1"),
        "ordinal": np.zeros(rows, "<u2"),
        "uid_high": np.full(rows, 7, "<u8"),
        "uid_low": np.arange(1, rows + 1, dtype="<u8"),
    }
    return Table(DEVICE, rows, columns)


def test_a_flood_of_devices_in_one_batch_is_refused(tmp_path: Path) -> None:
    def make(batch: IncomingBatch) -> pb.Batch:
        return spoiled(batch, {DEVICE: flood(MAX_ROWS + 1)})

    refused_one_by_one(tmp_path, make, "payload")


def test_a_host_with_ever_new_devices_harms_nobody_and_loses_no_joule(tmp_path: Path) -> None:
    """As far as it is built: energy stays exact, but the number of devices has no budget yet."""
    flooding, neighbour = FakeHost(1), FakeHost(2)
    generations = [FakeHost(1, devices=300) for _ in range(4)]
    sent_uj = 0

    async def main() -> int:
        nonlocal sent_uj
        store = SqliteStore(config(tmp_path / "store"))
        async with (
            served(store) as collector,
            Agent(collector.address, flooding.host) as bad,
            Agent(collector.address, neighbour.host) as good,
        ):
            await bad.hello()
            await good.hello()
            for number, generation in enumerate(generations):
                generation.sequence = number
                generation.ids = [
                    type(d)(d.kind, 0, d.uid + 1_000_000 * (number + 1)) for d in generation.ids
                ]
                generation.start_unix_ns = DAY0_UNIX_NS + number * 10 * NS_PER_S
                await bad.send(wire(generation.batch()))
                sent_uj += generation.sent_uj
                await good.send(wire(neighbour.batch()))
            await bad.acked(len(generations))
            await good.acked(len(generations))
        stored_uj = sum(w.energy_uj for w in store.windows(flooding.host, *ALL))
        assert len(store.windows(neighbour.host, *ALL)) == 2 * len(generations)
        store.close()
        return stored_uj

    assert asyncio.run(main()) == sent_uj


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")
def test_another_hosts_id_is_ignored_and_a_certificate_of_no_agent_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_certificates(tmp_path)
    ca, mine, victim = (tmp_path / "ca.pem").read_bytes(), FakeHost(1), FakeHost(2)

    def pair(name: str) -> tuple[bytes, bytes]:
        return (tmp_path / f"{name}.key").read_bytes(), (tmp_path / f"{name}.pem").read_bytes()

    async def main() -> None:
        store = SqliteStore(config(tmp_path / "store"))
        credentials = grpc.ssl_server_credentials([pair("server")], ca, require_client_auth=True)
        agent_, other = (
            grpc.ssl_channel_credentials(ca, *pair(name)) for name in ("agent", "placement")
        )
        async with served(store, credentials) as collector:
            async with Agent(collector.address, victim.host, agent_) as agent:
                await agent.hello()
                await agent.send(wire(victim.batch()))
                await agent.acked(1)
                assert collector.ingest.connected() == {mine.host}
            async with Agent(collector.address, victim.host, other) as agent:
                with pytest.raises(Ended, match="PERMISSION_DENIED"):
                    await agent.hello()
        assert "stream refused" in caplog.messages, "who tried is on record"
        assert store.windows(victim.host, *ALL) == []
        assert len(store.windows(mine.host, *ALL)) == 2
        assert [row.host for row in store.hosts()] == [mine.host]
        store.close()

    asyncio.run(main())
