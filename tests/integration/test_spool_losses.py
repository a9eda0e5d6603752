"""What a spool merged or lost, in the books of a collector that takes it from the stream."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc.aio

from chipwatt.agent.channel import TlsConfig
from chipwatt.agent.endpoints import Endpoints
from chipwatt.agent.spool.contract import SpoolConfig
from chipwatt.agent.spool.spool import Spool
from chipwatt.agent.spool.threaded import ThreadedSpool
from chipwatt.agent.uplink import Host, Uplink
from chipwatt.agent.uplink_config import UplinkConfig
from chipwatt.collector.ingest.servicer import SERVER_OPTIONS, Ingest
from chipwatt.collector.store.config import StoreConfig
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.model import GapReason
from chipwatt.core.settings import Size
from chipwatt.v1 import telemetry_pb2_grpc as pb_grpc
from fakes.lines import START_S, energy_uj, line, line_energy_uj
from fakes.spools import BOOT, InProcess

HOST = bytes(range(16))
CONFIG = SpoolConfig(quota=Size(48 << 10), segment=Size(4096))
FAR_NS = (START_S + 10**7) * NS_PER_S


def spooled(folder: Path) -> Spool:
    return Spool(folder, BOOT, CONFIG, merging=InProcess())


async def deliver(spool: Spool, store: SqliteStore) -> Ingest:
    """Drain the spool through the real uplink into the real ingest; the spool is closed."""
    server = grpc.aio.server(options=SERVER_OPTIONS)
    ingest = Ingest(store)
    pb_grpc.add_TelemetryServiceServicer_to_server(ingest, server)
    endpoints = Endpoints([f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"])
    ingest.start()
    await server.start()
    threaded = ThreadedSpool(spool)
    uplink = Uplink(endpoints, UplinkConfig(), TlsConfig(), Host(HOST, BOOT, 0), threaded)
    running = asyncio.create_task(uplink.run())
    await asyncio.wait_for(threaded.drained.wait(), 60)
    assert uplink.state.refused == 0
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await threaded.close()
    await ingest.drain()
    await server.stop(None)
    return ingest


def append(spool: Spool, first: int, count: int) -> None:
    for payload in line(count, first):
        spool.append([(payload, b"")])


def test_a_lost_record_is_a_gap_in_the_store_and_an_empty_one_is_no_offence(tmp_path: Path) -> None:
    spool = spooled(tmp_path / "spool")
    append(spool, 0, 6)
    spool.close()
    path = tmp_path / "spool" / "00000001.seg"
    content = path.read_bytes()
    for number in (0, 3):  # before the first no record tells when the gap began
        (payload,) = line(1, number)
        content = content.replace(payload, bytes(len(payload)))
    path.write_bytes(content)
    store = SqliteStore(StoreConfig(tmp_path / "store"))
    asyncio.run(deliver(spooled(tmp_path / "spool"), store))
    (gap,) = store.gaps(HOST, 0, FAR_NS)
    assert gap.reason is GapReason.SPOOL_DAMAGED
    assert gap.lower_uj == gap.upper_uj == energy_uj(3)
    windows = store.windows(HOST, 0, FAR_NS)
    assert [window.energy_uj for window in windows] == [energy_uj(n) for n in (1, 2, 4, 5)]
    store.close()


def test_what_was_sent_before_an_outage_is_not_counted_again_after_it(tmp_path: Path) -> None:
    """The acks of the first stream are lost with its cursor, then the spool has to merge."""
    store = SqliteStore(StoreConfig(tmp_path / "store"))
    spool = spooled(tmp_path / "spool")
    append(spool, 0, 20)
    asyncio.run(deliver(spool, store))
    (tmp_path / "spool" / "cursor").unlink()
    spool = spooled(tmp_path / "spool")
    append(spool, 20, 500)
    assert spool.counts().merged > 0
    asyncio.run(deliver(spool, store))
    windows = store.windows(HOST, 0, FAR_NS)
    assert sum(window.energy_uj for window in windows) == line_energy_uj(520)
    store.compact(FAR_NS)
    check = store.energy_check()
    assert (check.holes, check.twice_uj) == (0, 0)
    store.close()
