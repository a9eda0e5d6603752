"""One host's stream: batches in, in order; acks and refusals out, in the same order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator

from chipwatt.collector.ingest.commit import Outcome
from chipwatt.collector.ingest.identity import Identity
from chipwatt.v1 import telemetry_pb2 as pb

MAX_IN_FLIGHT = 16
"""Batches of one stream that may wait for a commit; then the stream is not read."""


class Session:
    """What a stream still owes its agent. Used in one event loop."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.ended = ""
        """Why the stream is to end before its time; empty where it is not."""
        self.reading: asyncio.Task[None] | None = None
        """Takes batches in; once it is done nothing more comes."""
        self._slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._owed: deque[tuple[int, int, asyncio.Future[Outcome] | pb.RefusalReason.ValueType]]
        self._owed = deque()
        self._acked = (0, 0)
        self._pause_ms = 0
        self._wake = asyncio.Event()

    async def slot(self) -> None:
        """Wait until one more batch may be under way."""
        await self._slots.acquire()

    def owe(
        self, batch: pb.Batch, answer: asyncio.Future[Outcome] | pb.RefusalReason.ValueType
    ) -> None:
        """Note a batch whose answer is to come, or the reason for refusing it."""
        self._owed.append((batch.spool_epoch, batch.sequence, answer))
        if isinstance(answer, asyncio.Future):
            answer.add_done_callback(lambda _: self._wake.set())
        else:
            self._wake.set()

    def pause(self, pause_ms: int) -> None:
        """Ask the agent to wait before its next batch."""
        self._pause_ms = pause_ms
        self._wake.set()

    def end(self, reason: str) -> None:
        """End the stream before its time; what it owes may stay unanswered."""
        self.ended = self.ended or reason
        self._wake.set()

    def read_with(self, reading: asyncio.Task[None]) -> None:
        """Let ``reading`` take batches in."""
        self.reading = reading
        reading.add_done_callback(lambda _: self._wake.set())

    @property
    def is_done(self) -> bool:
        """Whether nothing more comes in and everything that came is answered."""
        return self.reading is not None and self.reading.done() and not self._owed

    async def wait(self) -> None:
        """Return once there may be something to send."""
        await self._wake.wait()
        self._wake.clear()

    def replies(self) -> Iterator[pb.StreamResponse]:
        """Yield what can be said now: refusals one by one, acks as few as possible."""
        if self._pause_ms:
            yield _ack(*self._acked, self._pause_ms)
            self._pause_ms = 0
        unsent: tuple[int, int] | None = None
        while self._owed:
            epoch, sequence, answer = self._owed[0]
            reason = _reason(answer)
            if reason is None:
                break
            self._owed.popleft()
            self._slots.release()
            stored = reason == pb.REFUSAL_REASON_UNSPECIFIED
            if unsent and (not stored or unsent[0] != epoch or unsent[1] > sequence):
                yield _ack(*unsent)
                unsent = None
            if stored:
                unsent = self._acked = (epoch, sequence)
            else:
                yield pb.StreamResponse(
                    refusal=pb.Refusal(spool_epoch=epoch, sequence=sequence, reason=reason)
                )
        if unsent:
            yield _ack(*unsent)


def _reason(
    answer: asyncio.Future[Outcome] | pb.RefusalReason.ValueType,
) -> pb.RefusalReason.ValueType | None:
    """Return why a batch is refused, UNSPECIFIED where it is stored, None while it is open."""
    if not isinstance(answer, asyncio.Future):
        return answer
    if not answer.done():
        return None
    return {
        Outcome.STORED: pb.REFUSAL_REASON_UNSPECIFIED,
        Outcome.CONFLICT: pb.REFUSAL_REASON_CONFLICT,
        Outcome.REFUSED: pb.REFUSAL_REASON_INVALID,
    }[answer.result()]


def _ack(spool_epoch: int, sequence: int, pause_ms: int = 0) -> pb.StreamResponse:
    return pb.StreamResponse(
        ack=pb.Ack(spool_epoch=spool_epoch, sequence=sequence, pause_ms=pause_ms)
    )
