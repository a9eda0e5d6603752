"""A collector in this process behind TLS, and an agent's stream to it by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from chipwatt.collector.access.config import AccessConfig
from chipwatt.collector.config import CollectorConfig
from chipwatt.collector.server import Collector
from chipwatt.v1 import telemetry_pb2 as pb
from chipwatt.v1 import telemetry_pb2_grpc
from fakes.certified import Certified
from fakes.telemetry_records import a_host

HELLO = pb.StreamRequest(hello=pb.Hello(schema_version=1, host_id=a_host(9), boot_id=bytes(16)))


@asynccontextmanager
async def secured(
    folder: Path, certified: Certified, access: AccessConfig | None = None
) -> AsyncIterator[str]:
    config = CollectorConfig(
        listen="127.0.0.1:0", state_dir=folder / "state", tls=certified.collector()
    )
    if access is not None:
        config = replace(config, access=access)
    async with Collector(config) as collector:
        yield collector.address


async def opened(channel: grpc.aio.Channel) -> Any:
    """Open an agent's stream and read its welcome."""
    call: Any = telemetry_pb2_grpc.TelemetryServiceStub(channel).Stream()
    await call.write(HELLO)
    answer = await asyncio.wait_for(call.read(), 20)
    assert answer.HasField("welcome")
    return call


async def end(call: Any) -> grpc.StatusCode:
    try:
        assert await asyncio.wait_for(call.read(), 30) is grpc.aio.EOF
    except grpc.aio.AioRpcError as error:
        return error.code()
    code: grpc.StatusCode = await call.code()
    return code


async def cannot_open(channel: grpc.aio.Channel) -> grpc.StatusCode:
    with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)) as refused:
        await opened(channel)
    assert isinstance(refused.value, grpc.aio.AioRpcError), refused.value
    return refused.value.code()
