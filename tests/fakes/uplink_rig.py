"""A real spool and a real uplink in front of the telemetry server of the tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from chipwatt.agent.channel import TlsConfig
from chipwatt.agent.endpoints import Endpoints
from chipwatt.agent.spool.spool import Spool
from chipwatt.agent.spool.threaded import ThreadedSpool
from chipwatt.agent.uplink import Host, Uplink
from chipwatt.agent.uplink_config import UplinkConfig
from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.settings import Duration
from fakes.telemetry_server import Behaviour, TelemetryServer

BOOT = bytes(range(16))
HOST = Host(b"h" * 16, BOOT, 1_002_003)
FAST = UplinkConfig(
    retry_least=Duration(5 * NS_PER_MS),
    retry_most=Duration(20 * NS_PER_MS),
    retry_refused=Duration(60_000 * NS_PER_MS),
)


async def poll(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what it looks at has no event
        await asyncio.sleep(0.005)


class Rig:
    """A spool, an uplink that runs, and the other end."""

    def __init__(self, server: TelemetryServer, spool: ThreadedSpool, uplink: Uplink) -> None:
        self.server, self.spool, self.uplink = server, spool, uplink

    async def append(self, *payloads: bytes) -> None:
        await self.spool.append([(payload, b"") for payload in payloads])

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            await poll(condition)

    def payloads(self) -> list[bytes]:
        return [self.server.stored[key] for key in sorted(self.server.stored)]


@asynccontextmanager
async def rig(
    directory: Path, config: UplinkConfig = FAST, behaviour: Behaviour | None = None
) -> AsyncIterator[Rig]:
    server = TelemetryServer()
    server.behaviour = behaviour or Behaviour()
    await server.start()
    spool = ThreadedSpool(Spool(directory, BOOT))
    endpoints = Endpoints([server.address])
    uplink = Uplink(endpoints, config, TlsConfig(), HOST, spool, unix_ns=lambda: 12345)
    running = asyncio.create_task(uplink.run())
    try:
        yield Rig(server, spool, uplink)
        assert not running.done(), running.exception()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await spool.close()
        await server.stop()


def run(test: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await test

    asyncio.run(limited())
