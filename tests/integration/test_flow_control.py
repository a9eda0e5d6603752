"""Row 10: a collector whose disk is slow slows its agent down, and nobody's memory grows."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from chipwatt.agent.channel import TlsConfig
from chipwatt.agent.endpoints import Endpoints
from chipwatt.agent.spool.spool import Spool
from chipwatt.agent.spool.threaded import ThreadedSpool
from chipwatt.agent.uplink import Uplink
from chipwatt.collector.config import CollectorConfig
from chipwatt.collector.ingest.servicer import Ingest
from chipwatt.collector.ingest.session import MAX_IN_FLIGHT
from chipwatt.collector.listening import bind, make_server
from chipwatt.collector.store.contract import IncomingBatch
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core import codec
from chipwatt.core.records import Records
from chipwatt.v1 import telemetry_pb2_grpc
from fakes.telemetry_records import T0_S, a_window
from fakes.uplink_rig import BOOT, FAST, HOST, poll, run

BATCHES, ROWS = 3000, 150
COMMIT_S = 0.01
GROWTH_BYTES = 32 << 20


class SlowDisk(SqliteStore):
    """Takes 10 ms a batch."""

    def commit(self, batches: Sequence[IncomingBatch]) -> Mapping[bytes, Counter[str]]:
        time.sleep(COMMIT_S * len(batches))
        return super().commit(batches)


def rss_bytes() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGESIZE")


def test_a_slow_disk_is_felt_by_the_agent_and_not_by_memory(tmp_path: Path) -> None:
    windows = tuple(a_window(T0_S + n, 1, cumulative_uj=n + 1) for n in range(ROWS))
    payload = codec.encode_records(Records(windows=windows))
    filling = Spool(tmp_path / "spool", BOOT)
    for _ in range(BATCHES // 50):
        filling.append([(payload, b"")] * 50)
    filling.close()
    assert len(payload) * BATCHES > 2 * GROWTH_BYTES, "else nothing is shown"
    config = CollectorConfig(listen="127.0.0.1:0", state_dir=tmp_path)

    async def test() -> None:
        store = SlowDisk(config.store_config())
        ingest = Ingest(store)
        server = make_server(config)
        telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server(ingest, server)
        address = bind(server, config)
        ingest.start()
        await server.start()
        spool = ThreadedSpool(Spool(tmp_path / "spool", BOOT))
        uplink = Uplink(Endpoints([address]), FAST, TlsConfig(), HOST, spool)
        running = asyncio.create_task(uplink.run())
        await poll(lambda: uplink.state.acked >= 2 * MAX_IN_FLIGHT)
        before_bytes, acked, began_s = rss_bytes(), uplink.state.acked, time.monotonic()
        most_bytes = most_under_way = 0
        while time.monotonic() - began_s < 3:
            most_bytes = max(most_bytes, rss_bytes())
            sent = uplink.state.sent_bytes // len(payload)
            most_under_way = max(most_under_way, sent - uplink.state.acked)
            await asyncio.sleep(0.02)
        rate = (uplink.state.acked - acked) / (time.monotonic() - began_s)
        assert 10 < rate <= 1.2 / COMMIT_S, "the disk sets the pace"
        assert most_under_way <= MAX_IN_FLIGHT
        assert most_bytes - before_bytes < GROWTH_BYTES
        assert uplink.state.streams == 1, "and no time-out broke the stream"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await spool.close()
        await ingest.drain()
        await server.stop(None)
        store.close()

    run(test())
