"""Tells how collector and agents do, once an interval, to whoever takes metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from chipwatt.collector.telemetry.agents import Agents
from chipwatt.collector.telemetry.meter import CollectorMeter
from chipwatt.core.errors import ChipwattError
from chipwatt.core.log import get

Take = Callable[[ExportMetricsServiceRequest], Awaitable[None]]
_log = get(__name__)


class Report:
    """The task."""

    def __init__(
        self,
        meter: CollectorMeter,
        agents: Agents,
        *,
        names: Callable[[], Mapping[bytes, str]],
        unix_ns: Callable[[], int],
        executor: Executor,
    ) -> None:
        self._meter = meter
        self._agents = agents
        self._names = names
        self._unix_ns = unix_ns
        self._executor = executor

    async def run(self, takers: Sequence[Take], interval_s: float) -> None:
        """Report until cancelled.

        A taker that is still busy with the report before is passed over: sums say next
        time what they did not say now.
        """
        busy: dict[int, asyncio.Task[None]] = {}
        try:
            while True:
                await asyncio.sleep(interval_s)
                try:
                    requests = await self._made()
                except ChipwattError as error:
                    _log.warning("own metrics cannot be read, will try again", reason=str(error))
                    continue
                for number, take in enumerate(takers):
                    if number not in busy or busy[number].done():
                        busy[number] = asyncio.create_task(_hand_over(take, requests))
        finally:
            for task in busy.values():
                task.cancel()
            await asyncio.gather(*busy.values(), return_exceptions=True)

    async def _made(self) -> list[ExportMetricsServiceRequest]:
        return await asyncio.get_running_loop().run_in_executor(self._executor, self.requests)

    def requests(self) -> list[ExportMetricsServiceRequest]:
        """Return messages with all values as they stand. Raises StoreError."""
        return [
            self._meter.collect(),
            *self._agents.requests(self._names(), self._unix_ns()),
        ]


async def _hand_over(take: Take, requests: Sequence[ExportMetricsServiceRequest]) -> None:
    for request in requests:
        await take(request)
