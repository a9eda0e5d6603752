"""The gRPC service that agents stream to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable

import grpc
import grpc.aio

from chipwatt.collector.access.caller import caller_of
from chipwatt.collector.access.table import MOST_BYTES
from chipwatt.collector.ingest.admission import MAX_STREAMS, Admission
from chipwatt.collector.ingest.clocks import Clocks
from chipwatt.collector.ingest.commit import Committer, QuarantiningStore
from chipwatt.collector.ingest.counters import IngestCounters, is_worth_a_line
from chipwatt.collector.ingest.identity import Identity, StreamRefused, identify
from chipwatt.collector.ingest.pace import Pace
from chipwatt.collector.ingest.session import MAX_IN_FLIGHT, Session
from chipwatt.collector.ingest.silence import IDLE_S, Silence
from chipwatt.collector.ingest.unpack import BatchRefused, unpack
from chipwatt.collector.store.contract import HostFacts, HostRow
from chipwatt.core.clock import Clock, SystemClock
from chipwatt.core.errors import StoreError
from chipwatt.core.log import get
from chipwatt.core.retry_hint import exhausted_metadata
from chipwatt.core.wire import MAX_PAYLOAD_BYTES, SCHEMA_VERSION
from chipwatt.v1 import telemetry_pb2 as pb
from chipwatt.v1 import telemetry_pb2_grpc as pb_grpc

HELLO_TIMEOUT_S = 10.0
GARBAGE_LEAST_S = 0.001
GARBAGE_MOST_S = 0.5
"""How long a stream is not read after a batch that was refused, twice as long each time in a
row: who sends garbage pays with its own time, and an agent that meant well still drains."""
SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MOST_BYTES),
    # With 8 more than half of what the 32 threads of an adapter ask on their one connection is
    # refused as unavailable: gRPC 1.85 queues none of it.
    ("grpc.max_concurrent_streams", 64),
    ("grpc.so_reuseport", 0),  # else a second collector binds the same port without a word
)
"""What the gRPC server needs; how much each rpc takes of the largest message stands in its row."""
_FULL = "the collector's disk is full; keep your records and come again"
_SHUTTING_DOWN = "the collector is shutting down; what it has not acked is to be sent again"
Context = grpc.aio.ServicerContext[pb.StreamRequest, pb.StreamResponse]
_log = get(__name__)


class Ingest(pb_grpc.TelemetryServiceServicer):
    """Takes batches from agents; ``start`` before the server does, ``drain`` before it stops."""

    def __init__(
        self,
        store: QuarantiningStore,
        *,
        clock: Clock | None = None,
        cadence_ms: int = 0,
        max_streams: int = MAX_STREAMS,
        idle_s: float = IDLE_S,
    ) -> None:
        """``idle_s``: how long a stream may carry nothing. Raises StoreError."""
        self.counters = IngestCounters()
        self.clocks = Clocks()
        self.committer = Committer(store, self.counters, self.clocks)
        self._store = store
        self._clock = clock or SystemClock()
        self._cadence_ms = cadence_ms
        self._idle_s = idle_s
        self.admission = Admission(max_streams)
        self._pace = Pace()
        self._sessions: dict[bytes, Session] = {}
        self._draining = asyncio.Event()
        self.committer.on_stall.add(self._stall)

    def start(self) -> None:
        """Begin to commit, in the running event loop."""
        self.committer.start()

    def connected(self) -> set[bytes]:
        """Return the hosts that have a stream open."""
        return set(self._sessions)

    def facts(self) -> Callable[[bytes], HostFacts]:
        """Return what tells of each host, as of now, beside its data."""
        missing, counted = self.committer.missing(), self.counters.hosts

        def of(host: bytes) -> HostFacts:
            return HostFacts(
                self.clocks.offset_ns(host), missing.get(host, 0), dict(counted.get(host, {}))
            )

        return of

    async def drain(self, timeout_s: float = 10.0) -> bool:
        """Take nothing more, commit and ack what was taken; return whether all of it was."""
        self._draining.set()
        for session in list(self._sessions.values()):
            if session.reading:
                session.reading.cancel()
        done = await self.committer.drain(timeout_s)
        for session in list(self._sessions.values()):
            session.end(_SHUTTING_DOWN)
        return done

    async def Stream(
        self, request_iterator: AsyncIterable[pb.StreamRequest], context: Context
    ) -> AsyncIterator[pb.StreamResponse]:
        """Hello, then batches up; a welcome, then acks and refusals down."""
        try:
            requests = aiter(request_iterator)
            session = await self._open(requests, context)
            silence = Silence(self._idle_s, session.end)
            try:
                yield self._welcome()
                reading = asyncio.create_task(self._read(session, requests, silence.heard))
                session.read_with(reading)
                while not session.ended and not session.is_done:
                    await session.wait()
                    for reply in session.replies():
                        yield reply
            finally:
                silence.stop()
                await self._close(session)
            # What was committed while the stream was told to end is acked all the same.
            for reply in session.replies():
                yield reply
        except StreamRefused as refused:
            await context.abort(refused.code, str(refused), refused.metadata)
        reason = _SHUTTING_DOWN if self._draining.is_set() else session.ended
        if self.committer.is_full:
            await self._exhausted(context)
        if reason:
            await context.abort(grpc.StatusCode.UNAVAILABLE, reason)

    async def _exhausted(self, context: Context) -> None:
        """End a stream because there is no room, and say when to come again."""
        await context.abort(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            _FULL,
            exhausted_metadata(self.committer.retry_s),
        )

    def _stall(self, pause_ms: int) -> None:
        """Send agents away while the disk is full; let them wait where it may be over soon."""
        for session in list(self._sessions.values()):
            if self.committer.is_full:
                session.end(_FULL)
            else:
                session.pause(pause_ms)

    async def _open(self, requests: AsyncIterator[pb.StreamRequest], context: Context) -> Session:
        """Read the hello and take the stream in. Raises StreamRefused."""
        # First of all: who is refused while it still writes may read of an internal error only.
        hello = await _hello(requests)
        received_unix_ns = self._clock.unix_ns()
        if self._draining.is_set():
            raise StreamRefused(grpc.StatusCode.UNAVAILABLE, _SHUTTING_DOWN)
        if self.committer.is_full:
            await self._exhausted(context)
        if hello.schema_version != SCHEMA_VERSION:
            raise StreamRefused(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"the agent speaks schema {hello.schema_version}, this collector "
                f"{SCHEMA_VERSION}: upgrade the older of the two; the agent keeps its records",
            )
        if len(hello.boot_id) != 16:
            raise StreamRefused(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"hello.boot_id has {len(hello.boot_id)} bytes, 16 expected",
            )
        try:
            identity = identify(caller_of(context), hello.host_id)
        except StreamRefused as error:
            _log.warning("stream refused", peer=context.peer(), reason=str(error))
            raise
        if identity.host not in self._sessions:
            self.admission.check(len(self._sessions))
        with self.admission.opening():
            await self._note(identity, hello, received_unix_ns)
        session = Session(identity)
        older = self._sessions.get(identity.host)
        if older is not None:
            self.counters.replaced += 1
            older.end("a newer stream of the same host replaced this one")
        self._sessions[identity.host] = session
        self.counters.connected = len(self._sessions)
        return session

    async def _note(self, identity: Identity, hello: pb.Hello, received_unix_ns: int) -> None:
        offset_ns = 0
        if hello.sent_unix_ns:
            offset_ns = self.clocks.note(identity.host, hello.sent_unix_ns, received_unix_ns)
        row = HostRow(
            identity.host,
            identity.name,
            received_unix_ns,
            received_unix_ns,
            hello.agent_version,
            offset_ns,
        )
        try:
            await asyncio.to_thread(self._store.note_host, row)
        except StoreError as error:
            # The stream is worth more than the note, and reads go on in any case.
            _log.warning("host not noted", host=identity.name, reason=str(error))

    def _welcome(self) -> pb.StreamResponse:
        return pb.StreamResponse(
            welcome=pb.Welcome(
                schema_version=SCHEMA_VERSION,
                max_batch_bytes=MAX_PAYLOAD_BYTES,
                max_in_flight=MAX_IN_FLIGHT,
                cadence_ms=self._cadence_ms,
            )
        )

    async def _read(
        self,
        session: Session,
        requests: AsyncIterator[pb.StreamRequest],
        heard: Callable[[], None],
    ) -> None:
        """Take batches in, no more than the stream may have under way."""
        host, pause_s = session.identity.host, GARBAGE_LEAST_S
        async for request in requests:
            heard()
            if request.WhichOneof("message") != "batch":
                raise StreamRefused(
                    grpc.StatusCode.INVALID_ARGUMENT, "after its hello a stream carries batches"
                )
            batch = request.batch
            received_unix_ns = self._clock.unix_ns()
            if batch.sent_unix_ns:
                self.clocks.note(host, batch.sent_unix_ns, received_unix_ns)
            await session.slot()
            if wait_s := self._pace.take(host):
                await asyncio.sleep(wait_s)
            try:
                incoming = unpack(host, batch, received_unix_ns)
            except BatchRefused as refused:
                count = self.counters.refuse(host, refused.counted)
                if is_worth_a_line(count):
                    _log.warning(
                        "batch refused",
                        host=session.identity.name,
                        sequence=batch.sequence,
                        reason=str(refused),
                        refused=count,
                    )
                session.owe(batch, refused.reason)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, GARBAGE_MOST_S)
            else:
                pause_s = GARBAGE_LEAST_S
                session.owe(batch, await self.committer.submit(incoming))

    async def _close(self, session: Session) -> None:
        """Forget a stream; raises StreamRefused where its agent broke the protocol."""
        if self._sessions.get(session.identity.host) is session:
            del self._sessions[session.identity.host]
        self.counters.connected = len(self._sessions)
        if session.reading:
            session.reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.aio.UsageError):
                await session.reading


async def _hello(requests: AsyncIterator[pb.StreamRequest]) -> pb.Hello:
    try:
        request = await asyncio.wait_for(anext(requests), HELLO_TIMEOUT_S)
    except StopAsyncIteration:
        raise StreamRefused(
            grpc.StatusCode.INVALID_ARGUMENT, "the stream ended before its hello"
        ) from None
    except TimeoutError:
        raise StreamRefused(
            grpc.StatusCode.DEADLINE_EXCEEDED, f"no hello within {HELLO_TIMEOUT_S:.0f} s"
        ) from None
    if request.WhichOneof("message") != "hello":
        raise StreamRefused(grpc.StatusCode.INVALID_ARGUMENT, "a stream begins with a hello")
    return request.hello
