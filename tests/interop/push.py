"""From the store to a back end through the real exporter, until it has told everything."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from chipwatt.collector.otlp.config import OtlpConfig
from chipwatt.collector.otlp.export import Exporter, ExportStatus
from chipwatt.collector.otlp.request import Request, points_of
from chipwatt.collector.otlp.sender import Sender
from chipwatt.collector.store.config import StoreConfig
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.clock import NS_PER_MS, NS_PER_S, VirtualClock
from chipwatt.core.settings import Duration
from interop.backend import Backend

SETTLE = Duration(10 * NS_PER_S)
PAUSE_S = 0.02
LONGEST_S = 60.0


@dataclass(frozen=True, slots=True)
class Pushed:
    """What the exporter says of its work."""

    sent: int
    rejected: int
    retries: int
    by_metric: Counter[str]
    """Points that were taken, by the metric's name."""


class Counting(Sender):
    """Counts points by metric on their way."""

    by_metric: Counter[str]

    async def send(self, request: Request) -> None:
        await super().send(request)
        for of_resource in request.message.resource_metrics:
            for metric in of_resource.scope_metrics[0].metrics:
                self.by_metric[metric.name] += len(points_of(metric))


def push(store_folder: Path, backend: Backend, end_unix_ns: int) -> Pushed:
    """Export everything that ended by ``end_unix_ns``; raises TimeoutError where that hangs."""
    store = SqliteStore(StoreConfig(path=store_folder))
    try:
        return asyncio.run(_push(store, backend, end_unix_ns))
    finally:
        store.close()


async def _push(store: SqliteStore, backend: Backend, end_unix_ns: int) -> Pushed:
    config = OtlpConfig(
        endpoint=backend.endpoint, protocol=backend.protocol, start="oldest", settle=SETTLE
    )
    (destination,) = config.destinations()
    clock = VirtualClock(end_unix_ns + SETTLE)
    sender = Counting(destination, delays=lambda: itertools.repeat(PAUSE_S))
    sender.by_metric = Counter()
    exporter = Exporter(store, config, destination, clock=clock, sender=sender, poll_s=PAUSE_S)
    task = asyncio.create_task(exporter.run())
    try:
        async with asyncio.timeout(LONGEST_S):
            while not _is_done(exporter.status()):  # noqa: ASYNC110  it tells by its status alone
                await asyncio.sleep(PAUSE_S)
        status = exporter.status()
        return Pushed(status.points_sent, status.points_rejected, status.retries, sender.by_metric)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _is_done(status: ExportStatus) -> bool:
    return status.points_sent > 0 and status.lag_ms <= SETTLE // NS_PER_MS
