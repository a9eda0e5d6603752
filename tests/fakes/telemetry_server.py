"""A collector's end of the stream that keeps what it is sent, and misbehaves on demand.

A real grpc.aio server on a real socket; it lives on the event loop of the test.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import zstandard

from chipwatt.core.retry_hint import exhausted_metadata
from chipwatt.v1 import telemetry_pb2 as pb
from chipwatt.v1.telemetry_pb2_grpc import (
    TelemetryServiceServicer,
    add_TelemetryServiceServicer_to_server,
)

Key = tuple[bytes, int, int]


@dataclass
class Behaviour:
    """What the next streams meet."""

    abort_hello: grpc.StatusCode | None = None
    retry_s: float | None = None
    """What the abort asks for in its RetryInfo."""
    silent: bool = False
    close_after: int | None = None
    """Abort the stream with UNAVAILABLE after this many batches are stored, acks unsent."""
    cancel_after: int | None = None
    refuse: frozenset[int] = frozenset()
    pause_ms: int = 0
    welcome: pb.Welcome = field(
        default_factory=lambda: pb.Welcome(schema_version=1, max_in_flight=8)
    )
    hold_acks: bool = False
    """Answer no batch of a stream but its first."""


class TelemetryServer(TelemetryServiceServicer):
    """Stores payloads by key; the first writer stays."""

    def __init__(self, stored: dict[Key, bytes] | None = None) -> None:
        """``stored``: the store of another one that serves the same."""
        self.behaviour = Behaviour()
        self.stored: dict[Key, bytes] = {} if stored is None else stored
        self.arrivals: list[Key] = []
        self.arrival_times: list[float] = []
        self.encodings: set[int] = set()
        self.conflicts: list[Key] = []
        self.hellos: list[pb.Hello] = []
        self.hello_times: list[float] = []
        self.max_unanswered = 0
        self.changed = asyncio.Event()
        self._server: grpc.aio.Server | None = None
        self.port = 0

    async def start(self, credentials: grpc.ServerCredentials | None = None) -> None:
        """Listen on the port of the last time, or on any."""
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        add_TelemetryServiceServicer_to_server(self, server)
        address = f"127.0.0.1:{self.port}"
        if credentials is None:
            self.port = server.add_insecure_port(address)
        else:
            self.port = server.add_secure_port(address, credentials)
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Drop every connection, as a process that is killed would."""
        if self._server is not None:
            await self._server.stop(None)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def wait_for(self, count: int) -> None:
        """Return once ``count`` different batches are stored."""
        while len(self.stored) < count:
            self.changed.clear()
            await self.changed.wait()

    async def Stream(  # noqa: N802 - gRPC names it
        self, request_iterator: Any, context: Any
    ) -> AsyncIterator[pb.StreamResponse]:
        behaviour = self.behaviour
        on_stream = 0
        unanswered = 0
        async for request in request_iterator:
            if request.HasField("hello"):
                self.hellos.append(request.hello)
                self.hello_times.append(asyncio.get_running_loop().time())
                self.changed.set()
                if behaviour.abort_hello is not None:
                    hint = (
                        () if behaviour.retry_s is None else exhausted_metadata(behaviour.retry_s)
                    )
                    await context.abort(behaviour.abort_hello, "as the test wants it", hint)
                if behaviour.silent:
                    await asyncio.Event().wait()
                yield pb.StreamResponse(welcome=behaviour.welcome)
                continue
            batch = request.batch
            if batch.sequence in behaviour.refuse:
                yield pb.StreamResponse(
                    refusal=pb.Refusal(
                        spool_epoch=batch.spool_epoch,
                        sequence=batch.sequence,
                        reason=pb.REFUSAL_REASON_INVALID,
                    )
                )
                continue
            self._store(batch)
            on_stream += 1
            if on_stream == behaviour.close_after:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "stored, but the ack is lost")
            if on_stream == behaviour.cancel_after:
                await context.abort(grpc.StatusCode.CANCELLED, "cancelled from this side")
            if behaviour.hold_acks and on_stream > 1:
                unanswered += 1
                self.max_unanswered = max(self.max_unanswered, unanswered)
                continue
            yield pb.StreamResponse(
                ack=pb.Ack(
                    spool_epoch=batch.spool_epoch,
                    sequence=batch.sequence,
                    pause_ms=behaviour.pause_ms,
                )
            )

    def _store(self, batch: pb.Batch) -> None:
        key = (batch.boot_id, batch.spool_epoch, batch.sequence)
        payload = batch.payload
        self.encodings.add(batch.encoding)
        if batch.encoding == pb.ENCODING_ZSTD:
            payload = zstandard.decompress(payload)
        assert hashlib.blake2b(payload, digest_size=16).digest() == batch.digest
        if self.stored.setdefault(key, payload) != payload:
            self.conflicts.append(key)
        self.arrivals.append(key)
        self.arrival_times.append(asyncio.get_running_loop().time())
        self.changed.set()
