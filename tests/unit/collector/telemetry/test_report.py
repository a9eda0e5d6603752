from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from chipwatt.collector.telemetry.agents import Agents
from chipwatt.collector.telemetry.meter import CollectorMeter
from chipwatt.collector.telemetry.report import Report, Take
from chipwatt.core.errors import StoreError
from chipwatt.v1.query_pb2 import GetCollectorStatusResponse

TICK_S = 0.005


class Stage:
    """A report and those who take it."""

    def __init__(self) -> None:
        self.fails = 0
        self.meter = CollectorMeter(
            self.status, instance="box", version="1", unix_ns=lambda: 10**18, calibrations=tuple
        )
        self.taken: list[ExportMetricsServiceRequest] = []

    def status(self) -> GetCollectorStatusResponse:
        if self.fails:
            self.fails -= 1
            raise StoreError("busy")
        return GetCollectorStatusResponse()

    async def take(self, request: ExportMetricsServiceRequest) -> None:
        self.taken.append(request)

    async def run(self, *takers: Take, until: int) -> None:
        with ThreadPoolExecutor(1) as executor:
            report = Report(
                self.meter,
                Agents(10**18, version="1"),
                names=dict,
                unix_ns=lambda: 10**18,
                executor=executor,
            )
            task = asyncio.create_task(report.run(takers, TICK_S))
            async with asyncio.timeout(60):
                while len(self.taken) < until:  # noqa: ASYNC110  it tells by what it took alone
                    await asyncio.sleep(TICK_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self.meter.close()


def test_who_is_busy_is_passed_over_and_delays_nobody() -> None:
    stage = Stage()
    began = 0

    async def stuck(_: ExportMetricsServiceRequest) -> None:
        nonlocal began
        began += 1
        await asyncio.Event().wait()

    asyncio.run(stage.run(stuck, stage.take, until=3))
    assert began == 1


def test_a_store_that_cannot_be_read_is_asked_again() -> None:
    stage = Stage()
    stage.fails = 2
    asyncio.run(stage.run(stage.take, until=2))
    assert stage.fails == 0
