"""The export as a task: reads the store with a cursor of its own and sends interval by interval.

Nothing waits for it: it reads in a thread of its own, keeps a bounded number of rows,
and stops reading while the receiver does not answer. Its place in the store moves
only when the receiver has answered for everything before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Protocol, TypeVar

from chipwatt.collector.egress.config import Tier
from chipwatt.collector.otlp.config import Destination, OtlpConfig
from chipwatt.collector.otlp.encode import Encoder
from chipwatt.collector.otlp.intervals import GAPS, WINDOWS, Intervals
from chipwatt.collector.otlp.request import Request
from chipwatt.collector.otlp.row import Rows
from chipwatt.collector.otlp.sender import Sender, Sent
from chipwatt.collector.otlp.stream_book import Began, StreamBook
from chipwatt.collector.otlp.sum_book import Place, SumBook
from chipwatt.collector.store.contract import Block, HostRow
from chipwatt.core.clock import NS_PER_MS, Clock
from chipwatt.core.errors import StoreError
from chipwatt.core.identity import DeviceId
from chipwatt.core.log import get

CURSOR = "otlp"
"""Everything up to this position has been settled. Of a destination with a name: ``otlp/name``.
Beside it ``.read``: up to there what starts before ``.closed`` (ns since 1970) has been, too."""
MAX_WAITING = 300_000
"""Rows that may wait for their interval to end: two intervals of 10,000 hosts and to
spare, some 150 MB. Beyond, intervals are cut short."""
_BLOCKS_A_READ = 100
_NOTHING_CLOSED = 10**18  # above any position, which a new cursor is, and before our time
_STORE_PAUSE_S = 5.0
_MAX_AHEAD = 2  # intervals that a host's clock may run ahead before its data is not waited for
_log = get(__name__)
T = TypeVar("T")


class Books(Protocol):
    """What the export needs of a store."""

    def follow(self, after: int, *, limit: int = 100) -> list[Block]: ...

    def cursor(self, name: str) -> int:
        """Return a named position; a new one is the oldest that can be followed."""
        ...

    def advance(self, name: str, position: int) -> None:
        """Keep a named position; one that is lower than before is ignored."""
        ...

    def hosts(self) -> list[HostRow]: ...

    def host_dictionary(self) -> list[bytes]: ...

    def device_dictionary(self) -> list[tuple[bytes, DeviceId]]: ...


class Settles(Protocol):
    """Whoever takes requests: a receiver far away, or the page that shows them."""

    @property
    def sent(self) -> Sent: ...

    async def send(self, request: Request) -> None:
        """Return once the request is settled."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ExportStatus:
    """How the export does."""

    points_sent: int
    points_rejected: int
    retries: int
    lag_ms: int
    """Age of the newest interval's end that has been settled; one interval and
    ``settle`` at least."""


def together(each: Sequence[ExportStatus]) -> ExportStatus | None:
    """Return how several exports do as one: sums, and the age of the one that is behind most."""
    if not each:
        return None
    return ExportStatus(
        sum(one.points_sent for one in each),
        sum(one.points_rejected for one in each),
        sum(one.retries for one in each),
        max(one.lag_ms for one in each),
    )


class Exporter:
    """From store to one receiver."""

    def __init__(
        self,
        store: Books,
        config: OtlpConfig,
        destination: Destination,
        *,
        clock: Clock,
        tier: Tier = Tier.CONFIDENTIAL,
        folder: Path | None = None,
        sender: Settles | None = None,
        poll_s: float = 1.0,
    ) -> None:
        """Take a store and one of the settings' destinations.

        ``tier`` is whom the receiver is for, ``folder`` is where to keep the streams and
        their sums, which else begin anew with each process; ``poll_s`` is how often to look
        for news. Raises ConfigError where the settings cannot be used.
        """
        self.name = f"{CURSOR}/{destination.name}" if destination.name else CURSOR
        self._store = store
        self._config = config
        self._clock = clock
        self._poll_s = poll_s
        self._sender: Settles = sender or Sender(destination)
        self._tier = tier
        self._encoder = self._new_encoder()
        file = destination.name or "default"
        self._book = None if folder is None else StreamBook(folder / f"{file}.streams")
        self._sums = None if folder is None else SumBook(folder / f"{file}.sums")
        self._place = Place(0, 0, 0)
        self._intervals = Intervals(config.interval)
        self._gaps = Intervals(config.interval, kind=GAPS)
        self._began: list[Began] = []
        self._settled_unix_ns = clock.unix_ns()
        self._thread = ThreadPoolExecutor(1, self.name)

    def status(self) -> ExportStatus:
        """Return the counters as they stand."""
        sent = self._sender.sent
        lag_ns = max(0, self._clock.unix_ns() - self._settled_unix_ns)
        return ExportStatus(sent.points, sent.rejected, sent.retries, lag_ns // NS_PER_MS)

    async def run(self) -> None:
        """Export until cancelled. A store that cannot be read is tried again."""
        try:
            await self._patiently(self._resume)
            while True:
                # Before it reads: what was stored in time must be in what is closed.
                now_unix_ns = self._clock.unix_ns()
                is_drained = await self._patiently(self._read)
                ripe = self._ripe(now_unix_ns, is_drained=is_drained)
                if ripe is not None:
                    await self._settle(*ripe)
                if is_drained:
                    await asyncio.sleep(self._poll_s)
        finally:
            self._thread.shutdown(cancel_futures=True)
            await self._sender.close()

    def _new_encoder(self) -> Encoder:
        config, version = self._config, metadata.version("chipwatt")
        return Encoder(
            config.interval, version=version, namespace=config.namespace, tier=self._tier
        )

    def _resume(self) -> None:
        """Go on where the last process stopped; the very first one chooses where to begin."""
        position = self._store.cursor(self.name)
        closed_unix_ns = self._store.cursor(f"{self.name}.closed")
        if closed_unix_ns < _NOTHING_CLOSED:
            while self._config.start == "newest" and (blocks := self._store.follow(position)):
                position = blocks[-1].position
            self._store.advance(self.name, position)
            self._store.advance(f"{self.name}.closed", _NOTHING_CLOSED)
        read = self._store.cursor(f"{self.name}.read")
        place = Place(position, read, max(closed_unix_ns, _NOTHING_CLOSED))
        self._place = place = self._with_sums(place)
        if self._book is not None:
            self._encoder.take_up(self._book.read())
        self._note_settled(place.closed_unix_ns)
        self._intervals, self._gaps = (
            Intervals(
                self._config.interval,
                done=place.done,
                read=place.read,
                closed_unix_ns=place.closed_unix_ns,
                kind=kind,
            )
            for kind in (WINDOWS, GAPS)
        )

    def _with_sums(self, place: Place) -> Place:
        """Take up the sums as of ``place``; return the place that they are of."""
        kept = None if self._sums is None else self._sums.read(place)
        if kept is None:
            return place
        at, state = kept
        self._learn()
        try:
            self._encoder.restore(state)
        except (KeyError, ValueError, IndexError) as error:
            _log.warning("otlp sums begin anew", destination=self.name, reason=str(error))
            self._encoder = self._new_encoder()
            return place
        return at

    def _read(self) -> bool:
        """Read some blocks; return whether there are no more for now."""
        blocks = self._store.follow(self._intervals.read, limit=_BLOCKS_A_READ)
        self._intervals.add(blocks)
        self._gaps.add(blocks)
        return len(blocks) < _BLOCKS_A_READ

    def _ripe(self, now_unix_ns: int, *, is_drained: bool) -> tuple[Rows, Rows] | None:
        """Return windows and gaps that are due, perhaps none; None where no interval has ended."""
        intervals, interval_ns = self._intervals, self._config.interval
        if len(intervals) + len(self._gaps) > MAX_WAITING:
            return intervals.close_all(), self._gaps.close_all()
        if intervals.is_resuming and not is_drained:
            return None
        # In a backlog time passes as its windows tell it, or intervals would be cut short.
        heard_unix_ns = now_unix_ns if is_drained else min(now_unix_ns, intervals.newest_unix_ns)
        ended_unix_ns = (heard_unix_ns - self._config.settle) // interval_ns * interval_ns
        if ended_unix_ns <= intervals.closed_unix_ns:
            return None
        ahead_unix_ns = now_unix_ns + _MAX_AHEAD * interval_ns
        return (
            intervals.close(ended_unix_ns, ahead_unix_ns=ahead_unix_ns),
            self._gaps.close(ended_unix_ns, ahead_unix_ns=ahead_unix_ns),
        )

    async def _settle(self, rows: Rows, gaps: Rows) -> None:
        """Send rows and, once the receiver has answered for all of them, move the cursor."""
        requests = await self._patiently(lambda: self._requests(rows, gaps))
        while (request := await self._in_thread(lambda: next(requests, None))) is not None:
            await self._sender.send(request)
        await self._patiently(self._save)
        self._note_settled(self._intervals.closed_unix_ns)

    def _requests(self, rows: Rows, gaps: Rows) -> Iterator[Request]:
        self._learn()
        return self._encoder.requests(rows, self._intervals.closed_unix_ns, gaps)

    def _learn(self) -> None:
        store = self._store
        names = {host.host: host.name for host in store.hosts()}
        self._encoder.learn(store.host_dictionary(), names, store.device_dictionary())

    def _note_settled(self, closed_unix_ns: int) -> None:
        if closed_unix_ns > _NOTHING_CLOSED:
            self._settled_unix_ns = closed_unix_ns

    def _save(self) -> None:
        self._began += self._encoder.streams.began()
        if self._book is not None:
            self._book.keep(self._began)
        self._began.clear()
        done = min(self._intervals.done, self._gaps.done)
        at = Place(done, self._intervals.read, self._intervals.closed_unix_ns).later(self._place)
        if self._sums is not None:
            self._sums.keep(self._place, at, self._encoder.state())
        # In this order what the three say together is true after each step.
        self._store.advance(f"{self.name}.read", at.read)
        self._store.advance(f"{self.name}.closed", at.closed_unix_ns)
        self._store.advance(self.name, at.done)
        self._place = at

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _patiently(self, call: Callable[[], T]) -> T:
        while True:
            try:
                return await self._in_thread(call)
            except StoreError as error:
                _log.warning("otlp export cannot use the store, will retry", reason=str(error))
                await asyncio.sleep(_STORE_PAUSE_S)
