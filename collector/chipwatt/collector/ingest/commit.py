"""Group commit: batches of all streams go to the disk together, and only then are answered.

At most one commit runs, in a thread of its own; what arrives meanwhile is the
next group, one batch of each host in turn. Whether a batch is new is judged here,
between commits, so that two streams that carry the same batch cannot both store
it. While the store cannot write, the group is kept and tried again, nobody is
acked and readers go on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Protocol

from chipwatt.collector.ingest.clocks import Clocks
from chipwatt.collector.ingest.counters import IngestCounters, is_worth_a_line
from chipwatt.collector.ingest.dedupe import Dedupe, Verdict
from chipwatt.collector.ingest.examine import examine
from chipwatt.collector.ingest.fair_queue import FairQueue
from chipwatt.collector.store.contract import BatchKey, IncomingBatch, Store
from chipwatt.collector.store.faults import StoreFull
from chipwatt.collector.store.fingerprints import fingerprint_of
from chipwatt.collector.store.quarantine import Quarantined
from chipwatt.collector.store.twins import TOLD_BY_TWO
from chipwatt.core.codec import encode_tables
from chipwatt.core.errors import StoreError
from chipwatt.core.log import get

GROUP_S = 0.02
"""Commits begin at least this far apart."""
GROUP_BATCHES = 128
GROUP_ROWS = 16_384
"""Rows a commit, some 50 ms of work: what the first batch of a quiet host may wait for."""
WAITING_BATCHES = 1024
"""Batches that may wait for a commit, over all streams; then streams are not read."""
RETRY_LEAST_S = 1.0
RETRY_MOST_S = 30.0
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

    def quarantine(self, batches: Sequence[Quarantined]) -> None:
        """Put batches aside that contradict stored ones. Raises StoreError."""
        ...

    def fingerprint(self, key: BatchKey) -> int | None:
        """Return the fingerprint of a stored batch's digest, None where it is too old."""
        ...


_Waiting = tuple[IncomingBatch, "asyncio.Future[Outcome]"]
OnCommitted = Callable[[Sequence[IncomingBatch]], None]
OnStall = Callable[[int], None]


class Committer:
    """Takes batches in, gives outcomes back."""

    def __init__(
        self, store: QuarantiningStore, counters: IngestCounters, clocks: Clocks | None = None
    ) -> None:
        self.on_committed: list[OnCommitted] = []
        """Called with what was stored, in the committing thread, before it is acked."""
        self.on_stall: set[OnStall] = set()
        """Called with milliseconds to pause when the store cannot write."""
        self.stalled = ""
        """Why nothing can be stored at present; empty where it can."""
        self.is_full = False
        """Whether that is for want of room."""
        self.retry_s = RETRY_LEAST_S
        """When to come again, while nothing can be stored."""
        self._store = store
        self._counters = counters
        self._clocks = clocks or Clocks()
        self._dedupe = Dedupe(store.streams())
        self._waiting: FairQueue[_Waiting] = FairQueue(WAITING_BATCHES)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to commit, in the running event loop."""
        self._task = asyncio.create_task(self._run())

    async def submit(self, batch: IncomingBatch) -> asyncio.Future[Outcome]:
        """Queue a batch; waits while too many wait. The future gives its outcome."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        rows = sum(table.rows for table in batch.tables.values())
        await self._waiting.put(batch.key.host, (batch, future), rows)
        return future

    def missing(self) -> dict[bytes, int]:
        """Return how many sequence numbers between stored ones never came, by host."""
        return self._dedupe.missing()

    async def drain(self, timeout_s: float = 10.0) -> bool:
        """Commit what was taken and stop; return whether all of it is on the disk."""
        done = True
        try:
            await asyncio.wait_for(self._waiting.join(), timeout_s)
        except TimeoutError:
            done = False
            _log.warning("batches not committed at the end", waiting=len(self._waiting))
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._thread.shutdown(wait=True)
        return done

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        began_s = 0.0
        while True:
            await self._waiting.filled()
            left_s = began_s + GROUP_S - loop.time()
            if left_s > 0:
                await asyncio.sleep(left_s)
            group = self._waiting.take(GROUP_BATCHES, GROUP_ROWS)
            began_s = loop.time()
            await self._settle(group)
            self._waiting.done(len(group))

    async def _settle(self, group: list[_Waiting]) -> None:
        new: dict[BatchKey, _Waiting] = {}
        again: list[_Waiting] = []
        conflicts: list[_Waiting] = []
        for batch, future in group:
            verdict = await self._judge(batch)
            first = new.get(batch.key)
            if first is not None:
                same = first[0].digest == batch.digest
                verdict = Verdict.DUPLICATE if same else Verdict.CONFLICT
            if verdict is Verdict.NEW:
                new[batch.key] = (batch, future)
            elif verdict is Verdict.DUPLICATE:
                self._counters.duplicates += 1
                again.append((batch, future))
            elif verdict is Verdict.CONFLICT:
                conflicts.append((batch, future))
            else:
                self._counters.refuse(batch.key.host, "fragments")
                _tell(future, Outcome.REFUSED)
        if new:
            await self._commit(list(new.values()))
        if conflicts:
            await self._put_aside(conflicts)
        for batch, future in again:
            # One whose first copy in this very group was refused is not stored either.
            stored = self._dedupe.judge(batch.key, batch.digest) is not Verdict.NEW
            _tell(future, Outcome.STORED if stored else Outcome.REFUSED)

    async def _judge(self, batch: IncomingBatch) -> Verdict:
        """Say what a batch is; what memory has forgotten is looked up."""
        verdict = self._dedupe.judge(batch.key, batch.digest)
        if verdict is not Verdict.KNOWN:
            return verdict
        known: list[int | None] = []
        await self._patiently(lambda: known.append(self._store.fingerprint(batch.key)))
        if known[-1] is None:
            self._counters.unverified += 1
            return Verdict.DUPLICATE
        same = known[-1] == fingerprint_of(batch.digest)
        return Verdict.DUPLICATE if same else Verdict.CONFLICT

    async def _commit(self, group: list[_Waiting]) -> None:
        """Store a group, however long it takes; part it where one of it cannot be stored."""
        examined = [
            examine(batch, self._clocks.offset_ns(batch.key.host) or 0) for batch, _ in group
        ]
        changed: list[Mapping[bytes, Counter[str]]] = []
        try:
            await self._patiently(
                lambda: changed.append(self._write([batch for batch, _ in examined]))
            )
        except Exception as error:  # noqa: BLE001 - a fault of ours must not stop every host
            if len(group) > 1:
                for one in group:
                    await self._commit([one])
                return
            batch, future = group[0]
            _log.exception("batch cannot be stored", error, host=batch.key.host.hex())
            self._counters.refuse(batch.key.host, "store")
            _tell(future, Outcome.REFUSED)
            return
        for (batch, future), (_, found) in zip(group, examined, strict=True):
            self._dedupe.add(batch.key, batch.digest)
            self._counters.batches += 1
            if found:
                self._counters.flag(batch.key.host, found)
            _tell(future, Outcome.STORED)
        for host, found in changed[-1].items():
            self._counters.flag(host, found)
            if twins := found[TOLD_BY_TWO]:
                self._say_twins(host, twins)

    def _say_twins(self, host: bytes, rows: int) -> None:
        count = self._counters.hosts[host][TOLD_BY_TWO]
        if count.bit_length() > (count - rows).bit_length():
            _log.error(
                "two agents with state folders of their own measure one host: what the second one "
                "says of the same time is left out; end one of them",
                host=host.hex(),
                rows=count,
            )

    async def _put_aside(self, group: list[_Waiting]) -> None:
        aside = [
            Quarantined(b.key, b.digest, b.received_unix_ns, encode_tables(b.tables))
            for b, _ in group
        ]
        for batch, _ in group:
            count = self._counters.conflict(batch.key.host)
            if is_worth_a_line(count):
                _log.error(
                    "another batch with this key is stored: two agents with one identity, "
                    "or a host that was rolled back; see `chipwatt query conflicts`",
                    host=batch.key.host.hex(),
                    sequence=batch.key.sequence,
                    conflicts=count,
                )
        await self._patiently(lambda: self._store.quarantine(aside))
        for _, future in group:
            _tell(future, Outcome.CONFLICT)

    async def _patiently(self, work: Callable[[], None]) -> None:
        """Do ``work`` in the committing thread, again and again while the store cannot."""
        loop = asyncio.get_running_loop()
        self.retry_s = RETRY_LEAST_S
        while True:
            try:
                await loop.run_in_executor(self._thread, work)
            except StoreError as error:
                self._counters.store_failures += 1
                if str(error) != self.stalled:
                    _log.warning("cannot store; agents keep their batches", reason=str(error))
                self.stalled, self.is_full = str(error), isinstance(error, StoreFull)
                for tell in list(self.on_stall):
                    tell(int(self.retry_s * 1000))
                await asyncio.sleep(self.retry_s)
                self.retry_s = min(2 * self.retry_s, RETRY_MOST_S)
            else:
                if self.stalled:
                    _log.info("storing again")
                self.stalled, self.is_full = "", False
                return

    def _write(self, batches: list[IncomingBatch]) -> Mapping[bytes, Counter[str]]:
        changed = self._store.commit(batches)
        for tell in self.on_committed:
            try:
                tell(batches)
            except Exception as error:  # noqa: BLE001 - what is stored is stored
                _log.exception("a listener to commits failed", error)
        return changed


def _tell(future: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not future.done():
        future.set_result(outcome)
