"""A real server and real streams on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import grpc
import grpc.aio

from chipwatt.collector.ingest.commit import QuarantiningStore
from chipwatt.collector.ingest.servicer import SERVER_OPTIONS, Ingest
from chipwatt.collector.store.contract import IncomingBatch
from chipwatt.core.codec import encode_tables
from chipwatt.core.wire import SCHEMA_VERSION, digest
from chipwatt.v1 import telemetry_pb2 as pb
from chipwatt.v1 import telemetry_pb2_grpc as pb_grpc


@dataclass
class Served:
    ingest: Ingest
    address: str


@asynccontextmanager
async def served(
    store: QuarantiningStore,
    credentials: grpc.ServerCredentials | None = None,
    **changes: Any,
) -> AsyncIterator[Served]:
    ingest = Ingest(store, **changes)
    server = grpc.aio.server(options=list(SERVER_OPTIONS))
    pb_grpc.add_TelemetryServiceServicer_to_server(ingest, server)
    port = (
        server.add_secure_port("localhost:0", credentials)
        if credentials
        else server.add_insecure_port("127.0.0.1:0")
    )
    ingest.start()
    await server.start()
    try:
        yield Served(ingest, f"{'localhost' if credentials else '127.0.0.1'}:{port}")
    finally:
        await ingest.drain()
        await server.stop(0.5)


class Agent:
    """One stream."""

    def __init__(
        self, address: str, host: bytes, credentials: grpc.ChannelCredentials | None = None
    ) -> None:
        self.host = host
        self.channel = (
            grpc.aio.secure_channel(address, credentials)
            if credentials
            else grpc.aio.insecure_channel(address)
        )
        self.call = pb_grpc.TelemetryServiceStub(self.channel).Stream()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.call.cancel()
        await self.channel.close()

    async def hello(self, **changes: Any) -> pb.StreamResponse:
        fields: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "host_id": self.host,
            "boot_id": b"b" * 16,
            "agent_version": 1_002_003,
            "sent_unix_ns": 1_800_000_000_000_000_000,
        } | changes
        await self.call.write(pb.StreamRequest(hello=pb.Hello(**fields)))
        return await self.receive()

    async def send(self, batch: pb.Batch) -> None:
        await self.call.write(pb.StreamRequest(batch=batch))

    async def receive(self) -> pb.StreamResponse:
        try:
            reply = await asyncio.wait_for(self.call.read(), 20)
        except grpc.aio.AioRpcError as error:
            raise Ended(error.code(), error.details() or "") from None
        if isinstance(reply, pb.StreamResponse):
            return reply
        raise Ended(await self.call.code(), "")

    async def finish(self) -> None:
        """Send nothing more and take every answer that is still owed."""
        await self.call.done_writing()
        try:
            while True:
                await self.receive()
        except Ended as ended:
            if ended.code is not grpc.StatusCode.OK:
                raise

    async def acked(self, sequence: int) -> int:
        """Wait for an ack of ``sequence``; return how many acks came."""
        count = 0
        while True:
            reply = await self.receive()
            assert reply.HasField("ack"), reply
            count += 1
            if reply.ack.sequence >= sequence:
                return count


@asynccontextmanager
async def admitted(address: str, host: bytes) -> AsyncIterator[Agent]:
    """Yield a stream, once the collector takes one again."""
    while True:
        async with Agent(address, host) as agent:
            try:
                await agent.hello()
            except Ended as ended:
                if ended.code is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                await asyncio.sleep(0.1)
                continue
            yield agent
            return


class Ended(Exception):
    """The stream ended."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code


def wire(batch: IncomingBatch, **changes: Any) -> pb.Batch:
    payload = encode_tables(batch.tables)
    fields: dict[str, Any] = {
        "boot_id": batch.key.boot,
        "spool_epoch": batch.key.spool_epoch,
        "sequence": batch.key.sequence,
        "digest": digest(payload),
        "encoding": pb.ENCODING_PLAIN,
        "payload": payload,
    } | changes
    return pb.Batch(**fields)
