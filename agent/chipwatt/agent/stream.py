"""One stream to the collector, from hello to its end: batches up, acks and refusals down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from chipwatt.agent.in_flight import InFlight
from chipwatt.agent.lanes import Lanes
from chipwatt.agent.spool.contract import Spooled
from chipwatt.agent.spool.record import Position
from chipwatt.agent.spool.threaded import ThreadedSpool
from chipwatt.core import log
from chipwatt.core.wire import MAX_PAYLOAD_BYTES, digest
from chipwatt.v1 import telemetry_pb2 as pb
from chipwatt.v1.telemetry_pb2_grpc import TelemetryServiceStub

if TYPE_CHECKING:
    from chipwatt.v1.telemetry_pb2_grpc import TelemetryServiceAsyncStub

    Call = grpc.aio.StreamStreamCall[pb.StreamRequest, pb.StreamResponse]

HELLO_TIMEOUT_S = 30.0
LEAVE_S = 10.0
"""How long a stream that is left waits for what it still has under way."""
MAX_PAUSE_S = 300.0
Encode = Callable[[bytes], tuple["pb.Encoding.ValueType", bytes]]
_log = log.get(__name__)


@dataclass(slots=True)
class UplinkState:
    """What the uplink has done since it began, for the status file."""

    connected: bool = False
    address: str = ""
    """Where the collector was reached or tried last."""
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
    """Runs once; raises what ended it, or returns where it was left or the collector closed it."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        spool: ThreadedSpool,
        state: UplinkState,
        encode: Encode,
        max_in_flight: int,
        unix_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._channel = channel
        self._spool = spool
        self._state = state
        self._encode = encode
        self._max_in_flight = max_in_flight
        self._unix_ns = unix_ns
        self._max_batch_bytes = MAX_PAYLOAD_BYTES
        self._in_flight = InFlight()
        self._answered = asyncio.Event()
        self._pause_until_s = 0.0
        self._leaving = asyncio.Event()
        self._is_over = False
        self.progress = False
        """Whether the collector answered any batch."""

    def leave(self) -> None:
        """Send nothing more; ``run`` returns once what is under way is answered."""
        self._leaving.set()
        self._answered.set()
        self._spool.appended.set()

    @property
    def is_left(self) -> bool:
        """Whether the end of the stream was asked for on this side."""
        return self._leaving.is_set()

    async def run(self, hello: pb.Hello, welcomed: Callable[[pb.Welcome], None]) -> None:
        """Say hello, tell ``welcomed`` of the answer, then deliver until the stream ends.

        Raises AioRpcError, TimeoutError without a welcome, EOFError at an end
        that is none of gRPC's, SpoolError, and what ``welcomed`` raises.
        """
        stub: TelemetryServiceAsyncStub = TelemetryServiceStub(self._channel)
        call = stub.Stream()
        tasks: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                welcome = await self._greet(call, hello)
            welcomed(welcome)
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
            for task in tasks[:2]:
                task.cancel()
            await asyncio.gather(*tasks[:2], return_exceptions=True)
            # The next stream begins at the cursor: what is answered is not to be sent again.
            self._is_over = True
            self._answered.set()
            await asyncio.gather(*tasks[2:], return_exceptions=True)

    async def _greet(self, call: Call, hello: pb.Hello) -> pb.Welcome:
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
        return welcome

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
        begin = await self._try_oldest(call)
        border = await self._spool.hold_newest()
        lanes = Lanes(self._spool, begin, border)
        while await self._may_send():
            found = await lanes.next()
            if lanes.is_backlog_read and not self._in_flight.is_backlog_sent:
                self._in_flight.is_backlog_sent = True
                self._answered.set()
            if found is not None:
                await self._pass_on(call, *found)
            elif not self.is_left:
                await self._spool.appended.wait()
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await call.done_writing()
        await asyncio.sleep(LEAVE_S)

    async def _try_oldest(self, call: Call) -> Position:
        """Send the oldest record and wait for its answer; returns where to go on.

        What was sent is not merged any more (S9). So of a collector that takes
        streams and stores nothing, for days, the spool learns before it has
        shown all of itself to it.
        """
        begin = self._spool.cursor
        for record in (await self._spool.read_from(begin, 1))[:1]:
            if await self._may_send():
                await self._pass_on(call, record, is_newest=False)
                begin = record.position
        while len(self._in_flight):
            self._answered.clear()
            await self._answered.wait()
        return begin

    async def _pass_on(self, call: Call, record: Spooled, is_newest: bool) -> None:
        self._in_flight.send(record, newest=is_newest)
        if len(record.payload) > self._max_batch_bytes:
            self._refuse(record.epoch, record.sequence, pb.REFUSAL_REASON_TOO_LARGE)
            self._answered.set()
            return
        encoding, payload = self._encode(record.payload)
        batch = pb.Batch(
            boot_id=record.boot_id,
            spool_epoch=record.epoch,
            sequence=record.sequence,
            digest=digest(record.payload),
            encoding=encoding,
            payload=payload,
            sent_unix_ns=self._unix_ns(),
        )
        try:
            await call.write(pb.StreamRequest(batch=batch))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await asyncio.Event().wait()  # the receiver knows the reason and ends this
        self._state.sent_bytes += len(payload)

    async def _may_send(self) -> bool:
        """Wait for room in the window and for the end of a pause; False once the stream is left."""
        loop = asyncio.get_running_loop()
        while not self.is_left:
            if len(self._in_flight) >= self._max_in_flight:
                self._answered.clear()
                await self._answered.wait()
            elif (left_s := self._pause_until_s - loop.time()) > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._leaving.wait(), left_s)
            else:
                return True
        return False

    async def _settle(self) -> None:
        """Move the spool's cursor, as often as the disk lets us rather than once an ack."""
        while True:
            position = self._in_flight.take_settled()
            if position is not None:
                await self._spool.ack(position)
            elif self._is_over:
                return
            else:
                self._answered.clear()
                await self._answered.wait()

    def _refuse(self, epoch: int, sequence: int, reason: pb.RefusalReason.ValueType) -> None:
        refused = self._in_flight.refused(epoch, sequence)
        self._state.refused += refused
        if refused:
            name = pb.RefusalReason.Name(reason) if reason in pb.RefusalReason.values() else reason
            _log.error("record refused for good", sequence=sequence, reason=name)
