"""One stream to the collector, from hello to its end: batches up, acks and refusals down."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from chipwatt.agent.in_flight import InFlight
from chipwatt.agent.spool.contract import Spooled
from chipwatt.agent.spool.threaded import ThreadedSpool
from chipwatt.core import log
from chipwatt.core.wire import MAX_PAYLOAD_BYTES, digest
from chipwatt.v1 import telemetry_pb2 as pb
from chipwatt.v1.telemetry_pb2_grpc import TelemetryServiceStub

if TYPE_CHECKING:
    from chipwatt.v1.telemetry_pb2_grpc import TelemetryServiceAsyncStub

    Call = grpc.aio.StreamStreamCall[pb.StreamRequest, pb.StreamResponse]

HELLO_TIMEOUT_S = 30.0
MAX_PAUSE_S = 300.0
READ_BYTES = 256 << 10
"""How far the spool is read ahead of what is sent."""
Encode = Callable[[bytes], tuple["pb.Encoding.ValueType", bytes]]
_log = log.get(__name__)


@dataclass(slots=True)
class UplinkState:
    """What the uplink has done since it began, for the status file."""

    connected: bool = False
    acked: int = 0
    """Records that the collector has on its disk."""
    refused: int = 0
    """Records that it will never take."""
    streams: int = 0
    """Streams that a welcome opened."""
    sent_bytes: int = 0
    """Of payloads as encoded, records that were sent twice counted twice."""
    last_error: str = ""
    """The sentence of the newest failure; empty once a stream is open."""


def plain(payload: bytes) -> tuple[pb.Encoding.ValueType, bytes]:
    """Send a payload as it is."""
    return pb.ENCODING_PLAIN, payload


class Stream:
    """Runs once; raises what ended it, or returns where the collector closed the stream."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        spool: ThreadedSpool,
        state: UplinkState,
        encode: Encode,
        max_in_flight: int,
    ) -> None:
        self._channel = channel
        self._spool = spool
        self._state = state
        self._encode = encode
        self._max_in_flight = max_in_flight
        self._max_batch_bytes = MAX_PAYLOAD_BYTES
        self._in_flight = InFlight()
        self._answered = asyncio.Event()
        self._pause_until_s = 0.0
        self.progress = False
        """Whether the collector answered any batch."""

    async def run(self, hello: pb.Hello) -> None:
        """Say hello, then deliver until the stream ends.

        Raises AioRpcError, TimeoutError without a welcome, EOFError at an end
        that is none of gRPC's, SpoolError.
        """
        stub: TelemetryServiceAsyncStub = TelemetryServiceStub(self._channel)
        call = stub.Stream()
        tasks: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                await self._greet(call, hello)
            self._state.connected, self._state.last_error = True, ""
            self._state.streams += 1
            _log.info("connected", streams=self._state.streams, unacked=self._spool.counts.unacked)
            tasks = [
                asyncio.create_task(work)
                for work in (self._receive(call), self._send(call), self._settle())
            ]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if me is not None and me.cancelling():
                raise
            # A call that the other side cancelled looks the same from here.
            raise EOFError("the collector cancelled the stream") from None
        finally:
            self._state.connected = False
            call.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _greet(self, call: Call, hello: pb.Hello) -> None:
        # A call that has failed already has its reason in what read raises.
        with suppress(asyncio.InvalidStateError):
            await call.write(pb.StreamRequest(hello=hello))
        answer = await call.read()
        if not isinstance(answer, pb.StreamResponse) or not answer.HasField("welcome"):
            raise EOFError("the answer to hello is no welcome")
        welcome = answer.welcome
        if welcome.max_in_flight:
            self._max_in_flight = min(self._max_in_flight, welcome.max_in_flight)
        if welcome.max_batch_bytes:
            self._max_batch_bytes = welcome.max_batch_bytes

    async def _receive(self, call: Call) -> None:
        while isinstance(answer := await call.read(), pb.StreamResponse):
            if answer.HasField("ack"):
                ack = answer.ack
                self._state.acked += self._in_flight.acked(ack.spool_epoch, ack.sequence)
                if ack.pause_ms:
                    pause_s = min(ack.pause_ms / 1000, MAX_PAUSE_S)
                    self._pause_until_s = asyncio.get_running_loop().time() + pause_s
            elif answer.HasField("refusal"):
                refusal = answer.refusal
                self._refuse(refusal.spool_epoch, refusal.sequence, refusal.reason)
            self.progress = True
            self._answered.set()

    async def _send(self, call: Call) -> None:
        position = self._spool.cursor
        ahead: deque[Spooled] = deque()
        while True:
            if not ahead:
                self._spool.appended.clear()
                ahead.extend(await self._spool.read_from(position, READ_BYTES))
            if not ahead:
                await self._spool.appended.wait()
                continue
            await self._may_send()
            record = ahead.popleft()
            position = record.position
            self._in_flight.send(record)
            if len(record.payload) > self._max_batch_bytes:
                self._refuse(record.epoch, record.sequence, pb.REFUSAL_REASON_TOO_LARGE)
                self._answered.set()
            elif not await self._write(call, record):
                await asyncio.Event().wait()  # the receiver knows the reason and ends this

    async def _write(self, call: Call, record: Spooled) -> bool:
        encoding, payload = self._encode(record.payload)
        batch = pb.Batch(
            boot_id=record.boot_id,
            spool_epoch=record.epoch,
            sequence=record.sequence,
            digest=digest(record.payload),
            encoding=encoding,
            payload=payload,
        )
        try:
            await call.write(pb.StreamRequest(batch=batch))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return False
        self._state.sent_bytes += len(payload)
        return True

    async def _may_send(self) -> None:
        """Wait for room in the window and for the end of a pause."""
        loop = asyncio.get_running_loop()
        while True:
            if len(self._in_flight) >= self._max_in_flight:
                self._answered.clear()
                await self._answered.wait()
            elif (left_s := self._pause_until_s - loop.time()) > 0:
                await asyncio.sleep(left_s)
            else:
                return

    async def _settle(self) -> None:
        """Move the spool's cursor, as often as the disk lets us rather than once an ack."""
        while True:
            position = self._in_flight.take_settled()
            if position is not None:
                await self._spool.ack(position)
            else:
                self._answered.clear()
                await self._answered.wait()

    def _refuse(self, epoch: int, sequence: int, reason: pb.RefusalReason.ValueType) -> None:
        refused = self._in_flight.refused(epoch, sequence)
        self._state.refused += refused
        if refused:
            name = pb.RefusalReason.Name(reason) if reason in pb.RefusalReason.values() else reason
            _log.error("record refused for good", sequence=sequence, reason=name)
