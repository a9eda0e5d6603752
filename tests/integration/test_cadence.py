"""The collector sets how much time a batch covers; real sensing, real sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path

from chipwatt.agent.config import AgentConfig
from chipwatt.agent.daemon import Daemon
from chipwatt.agent.sensing_config import SensingConfig
from chipwatt.core import codec
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.settings import Duration
from chipwatt.v1 import telemetry_pb2 as pb
from fakes.telemetry_server import Behaviour, TelemetryServer
from fakes.uplink_rig import FAST, poll, run


def seconds(server: TelemetryServer) -> list[int]:
    """Return how many host seconds each batch holds, in the order of their sequences."""
    return [
        len(codec.records_from_tables(codec.decode_tables(server.stored[key])).host_seconds)
        for key in sorted(server.stored, key=lambda key: key[2])
    ]


def wanting(cadence_ms: int) -> Behaviour:
    return Behaviour(welcome=pb.Welcome(schema_version=1, cadence_ms=cadence_ms))


def test_batches_follow_the_collector_and_fall_back_to_the_agents_own(tmp_path: Path) -> None:
    async def test() -> None:
        server = TelemetryServer()
        server.behaviour = wanting(2000)
        await server.start()
        second = Duration(NS_PER_S)
        config = AgentConfig(
            collector=server.address,
            state_dir=tmp_path,
            sensing=SensingConfig(sources=("estimate",), max_rate=10, window=second, batch=second),
            uplink=FAST,
        )
        stop = asyncio.Event()
        running = asyncio.create_task(Daemon(config).run(stop))
        await poll(lambda: seconds(server)[-2:] == [2, 2])
        await server.stop()
        server.behaviour = wanting(0)
        await server.start()
        await poll(lambda: seconds(server)[-2:] == [1, 1])
        stop.set()
        await running
        await server.stop()

    run(test())
