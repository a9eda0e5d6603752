"""Group commit: batches of all streams go to the disk together, and only then are answered.

At most one commit runs, in a thread of its own; what arrives meanwhile is the
next group. Whether a batch is new is judged here, between commits, so that two
streams that carry the same batch cannot both store it. While the store cannot
write, the group is kept and tried again, nobody is acked and readers go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Protocol

from chipwatt.collector.ingest.counters import IngestCounters
from chipwatt.collector.ingest.dedupe import Dedupe, Verdict
from chipwatt.collector.store.contract import BatchKey, IncomingBatch, Store
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.codec import encode_tables
from chipwatt.core.columns import SectionKind
from chipwatt.core.errors import StoreError
from chipwatt.core.log import get

GROUP_S = 0.02
"""Commits begin at least this far apart."""
GROUP_BATCHES = 128
WAITING_BATCHES = 1024
"""Batches that may wait for a commit, over all streams; then streams are not read."""
RETRY_LEAST_S = 1.0
RETRY_MOST_S = 30.0
AHEAD_NS = 120 * NS_PER_S
_log = get(__name__)


class Outcome(Enum):
    """What became of a batch."""

    STORED = 1
    """On the disk, now or already before."""
    CONFLICT = 2
    REFUSED = 3
    """The store cannot take this one batch, whatever is tried."""


class QuarantiningStore(Store, Protocol):
    """A store that also puts aside what contradicts it."""

    def quarantine(
        self, key: BatchKey, digest: bytes, received_unix_ns: int, payload: bytes
    ) -> None:
        """Put a batch aside that contradicts a stored one. Raises StoreError."""
        ...


_Waiting = tuple[IncomingBatch, "asyncio.Future[Outcome]"]
OnCommitted = Callable[[Sequence[IncomingBatch]], None]
OnStall = Callable[[int], None]


class Committer:
    """Takes batches in, gives outcomes back."""

    def __init__(self, store: QuarantiningStore, counters: IngestCounters) -> None:
        self.on_committed: list[OnCommitted] = []
        """Called with what was stored, in the committing thread, before it is acked."""
        self.on_stall: set[OnStall] = set()
        """Called with milliseconds to pause when the store cannot write."""
        self.stalled = ""
        """Why nothing can be stored at present; empty where it can."""
        self._store = store
        self._counters = counters
        self._dedupe = Dedupe(store.streams())
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue(WAITING_BATCHES)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to commit, in the running event loop."""
        self._task = asyncio.create_task(self._run())

    async def submit(self, batch: IncomingBatch) -> asyncio.Future[Outcome]:
        """Queue a batch; waits while too many wait. The future gives its outcome."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        await self._waiting.put((batch, future))
        return future

    async def drain(self, timeout_s: float = 10.0) -> bool:
        """Commit what was taken and stop; return whether all of it is on the disk."""
        done = True
        try:
            await asyncio.wait_for(self._waiting.join(), timeout_s)
        except TimeoutError:
            done = False
            _log.warning("batches not committed at the end", waiting=self._waiting.qsize())
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._thread.shutdown(wait=True)
        return done

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        began_s = 0.0
        while True:
            group = [await self._waiting.get()]
            left_s = began_s + GROUP_S - loop.time()
            if left_s > 0:
                await asyncio.sleep(left_s)
            while len(group) < GROUP_BATCHES and not self._waiting.empty():
                group.append(self._waiting.get_nowait())
            began_s = loop.time()
            await self._settle(group)
            for _ in group:
                self._waiting.task_done()

    async def _settle(self, group: list[_Waiting]) -> None:
        new: dict[BatchKey, _Waiting] = {}
        again: list[_Waiting] = []
        for batch, future in group:
            verdict = self._dedupe.judge(batch.key, batch.digest)
            first = new.get(batch.key)
            if first is not None:
                same = first[0].digest == batch.digest
                verdict = Verdict.DUPLICATE if same else Verdict.CONFLICT
            if verdict is Verdict.NEW:
                new[batch.key] = (batch, future)
            elif verdict is Verdict.DUPLICATE:
                self._counters.duplicates += 1
                again.append((batch, future))
            else:
                await self._conflict(batch)
                _tell(future, Outcome.CONFLICT)
        if new:
            await self._commit(list(new.values()))
        for batch, future in again:
            # One whose first copy in this very group was refused is not stored either.
            stored = self._dedupe.judge(batch.key, batch.digest) is not Verdict.NEW
            _tell(future, Outcome.STORED if stored else Outcome.REFUSED)

    async def _commit(self, group: list[_Waiting]) -> None:
        """Store a group, however long it takes; part it where one of it cannot be stored."""
        batches = [batch for batch, _ in group]
        try:
            await self._patiently(lambda: self._write(batches))
        except Exception as error:  # noqa: BLE001 - a fault of ours must not stop every host
            if len(group) > 1:
                for one in group:
                    await self._commit([one])
                return
            batch, future = group[0]
            _log.exception("batch cannot be stored", error, host=batch.key.host.hex())
            self._counters.refused["store"] += 1
            _tell(future, Outcome.REFUSED)
            return
        for batch, future in group:
            self._dedupe.add(batch.key, batch.digest)
            self._counters.batches += 1
            self._counters.ahead += _ahead(batch)
            _tell(future, Outcome.STORED)

    async def _conflict(self, batch: IncomingBatch) -> None:
        self._counters.conflicts += 1
        _log.warning(
            "another batch with this key is stored: two agents with one identity, "
            "or a host that was rolled back",
            host=batch.key.host.hex(),
            sequence=batch.key.sequence,
        )
        payload = encode_tables(batch.tables)
        await self._patiently(
            lambda: self._store.quarantine(batch.key, batch.digest, batch.received_unix_ns, payload)
        )

    async def _patiently(self, work: Callable[[], None]) -> None:
        """Do ``work`` in the committing thread, again and again while the store cannot."""
        loop = asyncio.get_running_loop()
        wait_s = RETRY_LEAST_S
        while True:
            try:
                await loop.run_in_executor(self._thread, work)
            except StoreError as error:
                self._counters.store_failures += 1
                if str(error) != self.stalled:
                    _log.warning("cannot store; agents keep their batches", reason=str(error))
                self.stalled = str(error)
                for tell in list(self.on_stall):
                    tell(int(wait_s * 1000))
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, RETRY_MOST_S)
            else:
                self.stalled = ""
                return

    def _write(self, batches: list[IncomingBatch]) -> None:
        self._store.commit(batches)
        for tell in self.on_committed:
            try:
                tell(batches)
            except Exception as error:  # noqa: BLE001 - what is stored is stored
                _log.exception("a listener to commits failed", error)


def _tell(future: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not future.done():
        future.set_result(outcome)


def _ahead(batch: IncomingBatch) -> int:
    """Return how many rows start later than any sound clock says."""
    latest = batch.received_unix_ns + AHEAD_NS
    return sum(
        int((table["start_unix_ns"] > latest).sum())
        for kind in (SectionKind.HOST_SECOND, SectionKind.DEVICE_WINDOW)
        if (table := batch.tables.get(kind)) is not None
    )
