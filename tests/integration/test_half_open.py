"""A peer that is gone without a word, seen from either side, over a real TCP proxy."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chipwatt.agent import channel
from chipwatt.agent.channel import TlsConfig
from chipwatt.agent.endpoints import Endpoints
from chipwatt.agent.spool.spool import Spool
from chipwatt.agent.spool.threaded import ThreadedSpool
from chipwatt.agent.uplink import Uplink
from chipwatt.collector import listening
from chipwatt.collector.config import CollectorConfig
from chipwatt.collector.ingest.servicer import Ingest
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core import codec
from chipwatt.core.records import Records
from chipwatt.v1 import telemetry_pb2_grpc
from fakes.swallowing_proxy import SwallowingProxy
from fakes.telemetry_records import T0_S, a_window
from fakes.telemetry_server import TelemetryServer
from fakes.uplink_rig import BOOT, FAST, HOST, poll, run

QUICK_MS = 1_000
TIMES = ("grpc.keepalive_time_ms", "grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms")


def quickly(options: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    """Shorten what would take 25 s."""
    quick = dict.fromkeys(TIMES, QUICK_MS)
    assert quick.keys() <= dict(options).keys()
    return tuple((name, quick.get(name, value)) for name, value in options)


def test_both_sides_notice_within_half_a_minute() -> None:
    for side in (channel, listening):
        assert side.KEEPALIVE_MS + side.KEEPALIVE_TIMEOUT_MS <= 30_000
        options = dict(side._OPTIONS)
        after = (side.KEEPALIVE_MS, side.KEEPALIVE_TIMEOUT_MS, side.KEEPALIVE_TIMEOUT_MS)
        assert tuple(options[name] for name in TIMES) == after
    # And neither takes the other's pings for an attack.
    least_ms = dict(listening._OPTIONS)["grpc.http2.min_recv_ping_interval_without_data_ms"]
    assert least_ms < channel.KEEPALIVE_MS


def test_an_agent_finds_out_and_goes_on_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "_OPTIONS", quickly(channel._OPTIONS))

    async def test() -> None:
        server = TelemetryServer()
        await server.start()
        spool = ThreadedSpool(Spool(tmp_path, BOOT))
        async with SwallowingProxy(server.address) as proxy:
            uplink = Uplink(Endpoints([proxy.address]), FAST, TlsConfig(), HOST, spool)
            running = asyncio.create_task(uplink.run())
            await spool.append([(b"before", b"")])
            await spool.drained.wait()
            proxy.swallowing = True
            await spool.append([(b"lost on the way", b"")])
            async with asyncio.timeout(10):
                await poll(lambda: not uplink.state.connected)
            assert spool.counts.unacked == 1
            proxy.swallowing = False
            await spool.drained.wait()
            assert sorted(server.stored.values()) == [b"before", b"lost on the way"]
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await spool.close()
        await server.stop()

    run(test())


def test_a_collector_forgets_a_host_that_fell_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_OPTIONS", quickly(listening._OPTIONS))
    config = CollectorConfig(listen="127.0.0.1:0", state_dir=tmp_path)

    async def test() -> None:
        store = SqliteStore(config.store_config())
        ingest = Ingest(store)
        server = listening.make_server(config)
        telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server(ingest, server)
        address = listening.bind(server, config)
        ingest.start()
        await server.start()
        spool = ThreadedSpool(Spool(tmp_path / "spool", BOOT))
        payload = codec.encode_records(Records(windows=(a_window(T0_S, 1, cumulative_uj=1),)))
        async with SwallowingProxy(address) as proxy:
            uplink = Uplink(Endpoints([proxy.address]), FAST, TlsConfig(), HOST, spool)
            running = asyncio.create_task(uplink.run())
            await spool.append([(payload, b"")])
            await spool.drained.wait()
            assert ingest.connected() == {HOST.host_id}
            proxy.swallowing = True
            async with asyncio.timeout(10):
                await poll(lambda: not ingest.connected())
            assert ingest.counters.connected == 0
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await spool.close()
        await ingest.drain()
        await server.stop(None)
        store.close()

    run(test())
