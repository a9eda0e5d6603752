"""An exporter that dies each time between an answer and its cursor: what it sent comes again.

The history passes minute by minute. What a back end reads in the end must be what it
reads of an exporter that never died: points that come twice are the same points.
"""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

from chipwatt.collector.otlp.config import OtlpConfig
from chipwatt.collector.otlp.export import Exporter
from chipwatt.collector.otlp.request import Request
from chipwatt.collector.otlp.sender import Sender
from chipwatt.collector.store.config import StoreConfig
from chipwatt.collector.store.contract import Block
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.clock import NS_PER_MS, NS_PER_S, VirtualClock
from interop.backend import Backend
from interop.push import LONGEST_S, PAUSE_S, SETTLE

MINUTE_NS = 60 * NS_PER_S
LIVES = 5
"""Requests that are answered until it dies."""


class AsItStood(SqliteStore):
    """A store without what is later than the clock."""

    def __init__(self, config: StoreConfig, clock: VirtualClock) -> None:
        super().__init__(config)
        self._clock = clock

    def follow(self, after: int, *, limit: int = 100) -> list[Block]:
        now_unix_ns = self._clock.unix_ns()
        blocks = super().follow(after, limit=limit)
        return list(itertools.takewhile(lambda one: _newest_unix_ns(one) < now_unix_ns, blocks))


class Mortal(Sender):
    """Says no more after some answers, so that its exporter can be ended right there."""

    left = LIVES

    async def send(self, request: Request) -> None:
        await super().send(request)
        self.left -= 1
        if not self.left:
            await asyncio.Event().wait()


def push_and_die(store_folder: Path, backend: Backend, start_unix_ns: int, end_unix_ns: int) -> int:
    """Export everything that ended by ``end_unix_ns``; return how many exporters died."""
    clock = VirtualClock(start_unix_ns + MINUTE_NS + SETTLE)
    store = AsItStood(StoreConfig(path=store_folder), clock)
    try:
        return asyncio.run(_push(store, backend, clock, end_unix_ns, store_folder / "otlp"))
    finally:
        store.close()


async def _push(
    store: AsItStood, backend: Backend, clock: VirtualClock, end_unix_ns: int, folder: Path
) -> int:
    config = OtlpConfig(
        endpoint=backend.endpoint, protocol=backend.protocol, start="oldest", settle=SETTLE
    )
    (destination,) = config.destinations()
    for died in itertools.count():
        sender = Mortal(destination, delays=lambda: itertools.repeat(PAUSE_S))
        exporter = Exporter(
            store, config, destination, clock=clock, sender=sender, poll_s=PAUSE_S,
            folder=folder,
        )  # fmt: skip
        task = asyncio.create_task(exporter.run())
        try:
            async with asyncio.timeout(LONGEST_S):
                while sender.left:
                    status = exporter.status()
                    if status.points_sent and status.lag_ms * NS_PER_MS <= SETTLE:
                        if clock.unix_ns() >= end_unix_ns + SETTLE:
                            return died
                        clock.sleep_until(clock.mono_ns() + MINUTE_NS)
                    await asyncio.sleep(PAUSE_S)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    raise AssertionError("it counts for ever")


def _newest_unix_ns(block: Block) -> int:
    return int(block.table["start_unix_ns"].max(initial=0))
