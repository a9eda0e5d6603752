"""The ways of metrics beside the OTLP export: ``/metrics``, and how we do ourselves."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from importlib import metadata
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from chipwatt.collector.config import CollectorConfig
from chipwatt.collector.egress.config import Tier
from chipwatt.collector.forecast.contract import Calibration
from chipwatt.collector.otlp.config import Destination
from chipwatt.collector.otlp.export import Exporter
from chipwatt.collector.otlp.request import Request, points_of
from chipwatt.collector.otlp.sender import Sender, Sent
from chipwatt.collector.prometheus.endpoint import serving
from chipwatt.collector.prometheus.scrape import Scrape
from chipwatt.collector.selfmetrics import with_coarse_size
from chipwatt.collector.store.contract import IncomingBatch
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.collector.telemetry.agents import Agents
from chipwatt.collector.telemetry.report import Report, Take
from chipwatt.core.clock import NS_PER_S, Clock
from chipwatt.core.log import get
from chipwatt.v1.query_pb2 import GetCollectorStatusResponse

CURSOR = "/metrics"
"""No destination of the settings can be called so."""
_log = get(__name__)
Listener = Callable[[Sequence[IncomingBatch]], None]
Status = Callable[[], GetCollectorStatusResponse]
Calibrations = Callable[[], Sequence[Calibration]]


class ToScrape:
    """Takes the export's requests as a receiver would, and shows them."""

    def __init__(self, scrape: Scrape) -> None:
        self.sent = Sent()
        self._scrape = scrape

    async def send(self, request: Request) -> None:
        """Return once the points are shown."""
        await asyncio.to_thread(lambda: self._scrape.take(request.message))
        self.sent.points += request.points

    async def close(self) -> None:
        """Give nothing up: what is shown stays until it is too old."""


class MetricsOut:
    """Made before the first commit; then asked for the work that is to run."""

    def __init__(
        self, config: CollectorConfig, store: SqliteStore, clock: Clock, executor: Executor
    ) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._executor = executor
        self._version = metadata.version("chipwatt")
        listen, most = config.prometheus.listen, config.prometheus.max_series
        self._scrape = Scrape(most, clock.unix_ns) if listen else None
        self.is_on = self._scrape is not None or bool(config.otlp.destinations())
        self.address = ""
        """Host and port of ``/metrics``, once it is served."""

    async def open(
        self,
        status: Status,
        calibrations: Calibrations,
        listeners: list[Listener],
        stack: AsyncExitStack,
    ) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        """Begin to count and to serve; return the work that is to run, with its names.

        ``listeners`` are told of what is stored. Raises ChipwattError where the address cannot be
        had.
        """
        if self._scrape is not None:
            listen = self._config.prometheus.listen
            self.address = await stack.enter_async_context(serving(listen, self._scrape))
            _log.info("metrics are served", address=self.address)
        work = []
        if self._config.own_metrics and self.is_on:
            report = self._measured(status, calibrations, listeners, stack)
            work.append(("own metrics", self._report(report)))
        if self._scrape is not None:
            exporter = Exporter(
                self._store,
                self._config.otlp,
                Destination(name=CURSOR),
                clock=self._clock,
                tier=self._config.privacy.tier,
                sender=ToScrape(self._scrape),
            )
            work.append(("metrics page", exporter.run()))
        return work

    def _measured(
        self,
        status: Status,
        calibrations: Calibrations,
        listeners: list[Listener],
        stack: AsyncExitStack,
    ) -> Report:
        # The SDK costs memory and time to start, which nobody pays who exports nothing.
        from chipwatt.collector.telemetry.meter import CollectorMeter

        unix_ns = self._clock.unix_ns
        is_all = self._config.privacy.tier is Tier.OPERATOR
        meter = CollectorMeter(
            status if is_all else lambda: with_coarse_size(status()),
            instance=socket.gethostname(),
            version=self._version,
            unix_ns=unix_ns,
            calibrations=calibrations,
        )
        stack.callback(meter.close)
        namespace = self._config.otlp.namespace
        agents = Agents(unix_ns(), version=self._version, namespace=namespace)
        listeners += [agents.on_commit, meter.commits.on_commit]
        return Report(meter, agents, names=self._names, unix_ns=unix_ns, executor=self._executor)

    async def _report(self, report: Report) -> None:
        senders = [Sender(destination) for destination in self._config.otlp.destinations()]
        takers: list[Take] = [_to(sender) for sender in senders]
        if self._scrape is not None:
            takers.append(_show(self._scrape))
        try:
            await report.run(takers, self._config.otlp.interval / NS_PER_S)
        finally:
            for sender in senders:
                await sender.close()

    def _names(self) -> dict[bytes, str]:
        return {host.host: host.name for host in self._store.hosts()}


def _to(sender: Sender) -> Take:
    async def take(message: ExportMetricsServiceRequest) -> None:
        points = sum(len(points_of(metric)) for metric in _metrics(message))
        if points:
            await sender.send(Request(message.SerializeToString(), points))

    return take


def _show(scrape: Scrape) -> Take:
    async def take(message: ExportMetricsServiceRequest) -> None:
        await asyncio.to_thread(scrape.take, message)

    return take


def _metrics(message: ExportMetricsServiceRequest) -> Iterator[Any]:
    for of_resource in message.resource_metrics:
        for of_scope in of_resource.scope_metrics:
            yield from of_scope.metrics
