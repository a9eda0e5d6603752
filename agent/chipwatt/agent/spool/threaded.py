"""The spool on a thread of its own: an fsync that takes long never holds up the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from chipwatt.agent.spool.contract import SpoolCounts, Spooled
from chipwatt.agent.spool.record import Position
from chipwatt.agent.spool.spool import Spool

T = TypeVar("T")


class ThreadedSpool:
    """A spool for coroutines of one event loop; see ``Spool`` for what the calls mean."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._executor = ThreadPoolExecutor(1, "spool")
        self.merging = spool.merging
        self._latest = _state(spool)
        self.doubtful_memory = spool.doubtful_memory
        # As of the last call that came back:
        self.counts, self.cursor, self.memory, self.problem = self._latest
        self.appended = asyncio.Event()
        """Set by each append; whoever waits for records clears it before it reads."""
        self.drained = asyncio.Event()
        """Set while every record is settled."""
        self._publish()

    async def append(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        await self._do(partial(self._spool.append, records))
        self.appended.set()

    async def read_from(self, position: Position, max_bytes: int) -> list[Spooled]:
        return await self._do(partial(self._spool.read_from, position, max_bytes))

    async def hold_newest(self) -> Position:
        return await self._do(self._spool.hold_newest)

    async def ack(self, position: Position) -> None:
        await self._do(partial(self._spool.ack, position))

    async def close(self) -> None:
        """Wait for what is under way, then give everything back."""
        await self._do(self._spool.close)
        self._executor.shutdown()

    async def _do(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._executor, self._on_thread, call
            )
        finally:
            self._publish()

    def _on_thread(self, call: Callable[[], T]) -> T:
        try:
            return call()
        finally:
            self._latest = _state(self._spool)

    def _publish(self) -> None:
        self.counts, self.cursor, self.memory, self.problem = self._latest
        if self.counts.unacked:
            self.drained.clear()
        else:
            self.drained.set()


def _state(spool: Spool) -> tuple[SpoolCounts, Position, bytes, str]:
    return (spool.counts(), spool.cursor, spool.memory, spool.problem)
