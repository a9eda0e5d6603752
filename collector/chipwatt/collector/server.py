"""The collector's composition root: makes every stage, runs them, closes them in reverse.

No stage knows another. Agents' batches go through ingest to the store; what
has been stored goes to the newest state in memory; queries, placement and the
OTLP export read, each at its own pace.
"""

from __future__ import annotations

import asyncio
import functools
import signal
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import grpc.aio

from chipwatt.collector.access.audit import AuditLog
from chipwatt.collector.access.guard import Guard
from chipwatt.collector.config import CollectorConfig
from chipwatt.collector.egress.config import Tier
from chipwatt.collector.egress.policy import LOUD
from chipwatt.collector.enrolment.assembly import Enrolment
from chipwatt.collector.exports import WorkloadsOut, chip_exports, plain_text_warnings
from chipwatt.collector.forecast_quality import told_quality
from chipwatt.collector.ingest.servicer import Ingest
from chipwatt.collector.latest import Latest
from chipwatt.collector.listening import (
    allow_connections,
    bind,
    is_private,
    make_server,
    server_credentials,
    trust_domain,
)
from chipwatt.collector.metrics_out import MetricsOut
from chipwatt.collector.otlp.export import Exporter, together
from chipwatt.collector.otlp.links import link_to
from chipwatt.collector.placement.assembly import TICK_S, Placement
from chipwatt.collector.placement.topology import Topology
from chipwatt.collector.placement.topology_file import load_topology
from chipwatt.collector.placement.topology_reload import TopologyFile
from chipwatt.collector.query.queries import Queries
from chipwatt.collector.query.servicer import QueryServicer
from chipwatt.collector.recovery import recover
from chipwatt.collector.selfmetrics import status_message
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core import log
from chipwatt.core.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from chipwatt.core.errors import ChipwattError
from chipwatt.core.lifecycle import stop_requested
from chipwatt.v1 import query_pb2, query_pb2_grpc, telemetry_pb2_grpc

READERS = 4
NAMES_EVERY_S = 5.0
EXPIRE_EVERY_S = 60.0
LEARN_EVERY_S = 5.0
STOP_GRACE_S = 3.0
RECOVERY_GRACE_S = 5.0
_log = log.get(__name__)
P = ParamSpec("P")
T = TypeVar("T")


class Collector:
    """A collector in this process: ``async with Collector(config) as collector``.

    Opening raises ChipwattError and leaves nothing open. Leaving takes no more
    batches, commits and acks what was taken, and closes the store last.
    """

    def __init__(self, config: CollectorConfig, clock: Clock | None = None) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._stack = AsyncExitStack()
        self.address = ""
        """Host and port that it listens on, once open."""

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def _open(self) -> None:
        config, stack = self._config, self._stack
        file = None if config.topology is None else TopologyFile(config.topology)
        topology = file.topology if file else None
        for warning in topology_warnings(topology) + plain_text_warnings(config):
            _log.warning(warning)
        audit = AuditLog(config.state_dir, unix_ns=self._clock.unix_ns)
        stack.callback(audit.close)
        guard = Guard(
            audit,
            any_peer=config.insecure_plaintext_over_network,
            trust_domain=trust_domain(config.tls),
            calls_per_source=config.access.calls_per_source,
            unix_ns=self._clock.unix_ns,
        )
        server = make_server(config, [guard])
        stack.push_async_callback(server.stop, None)
        # Before the store, so that a second collector is told of the address.
        address = bind(server, config)
        self._executor = ThreadPoolExecutor(READERS, "read")
        stack.callback(self._executor.shutdown)
        store = await self._in_thread(SqliteStore, config.store_config(), self._clock.mono_ns)
        stack.callback(store.close)
        latest = Latest()
        placement = await self._in_thread(
            Placement, latest, self._clock.unix_ns, config.state_dir, file
        )
        stack.callback(placement.close)
        self._placement = placement
        await self._recover(latest, store, placement)
        ingest = Ingest(
            store,
            clock=self._clock,
            cadence_ms=config.cadence // NS_PER_MS,
            max_streams=config.max_streams,
            idle_s=config.access.stream_idle / NS_PER_S,
        )
        ingest.committer.on_committed.append(latest.on_commit)
        exporters = chip_exports(config, store, self._clock)
        status = self._serve(server, store, latest, ingest, exporters, placement)
        metrics = MetricsOut(config, store, self._clock, self._executor)
        told = ingest.committer.on_committed
        quality = functools.partial(told_quality, placement.outlooks, config.privacy.tier)
        for name, work in await metrics.open(status, quality, told, stack):
            self._background(name, work)
        for exporter in exporters:
            self._background(exporter.name, exporter.run())
        workloads = await self._in_thread(WorkloadsOut, config, store, self._clock)
        stack.callback(workloads.close)
        for name, work in workloads.work():
            self._background(name, work)
        self._background("names", self._every(NAMES_EVERY_S, lambda: latest.learn(store.hosts())))
        learner = placement.learner(store.workloads)
        self._background("classes", self._every(LEARN_EVERY_S, learner.tick))
        self._background(
            "expire", self._every(EXPIRE_EVERY_S, lambda: store.expire(self._clock.unix_ns()))
        )
        await Enrolment(config).open(server, audit, stack)
        ingest.start()
        stack.push_async_callback(server.stop, STOP_GRACE_S)
        stack.push_async_callback(ingest.drain)
        stack.callback(placement.end_streams)
        await server.start()
        self.address = address

    def _serve(
        self,
        server: grpc.aio.Server,
        store: SqliteStore,
        latest: Latest,
        ingest: Ingest,
        exporters: Sequence[Exporter],
        placement: Placement,
    ) -> Callable[[], query_pb2.GetCollectorStatusResponse]:
        """Put the three services on the server; return what tells how the collector does."""

        def status() -> query_pb2.GetCollectorStatusResponse:
            sent = together([exporter.status() for exporter in exporters])
            return status_message(
                store.totals(),
                ingest.counters,
                sent,
                store.energy_check(),
                missing_batches=sum(ingest.committer.missing().values()),
                stalled=ingest.committer.stalled,
                damaged=store.damaged,
                streams_shed=ingest.admission.shed,
            )

        telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server(ingest, server)
        queries = Queries(
            store, latest, ingest.connected, facts=ingest.facts, now_unix_ns=self._clock.unix_ns
        )
        query_pb2_grpc.add_QueryServiceServicer_to_server(
            QueryServicer(queries, status, self._executor, self._config.privacy.tier), server
        )
        placement.serve(server, self._executor, self._config.privacy.tier)
        return status

    def reload(self) -> None:
        """Read the topology file again; a broken one leaves the topology as it is."""
        self._placement.reload()

    async def _recover(self, latest: Latest, store: SqliteStore, placement: Placement) -> None:
        """Fill the newest state; in a large fleet agents are not kept waiting until it is done."""
        closing = threading.Event()

        def read() -> None:
            recover(latest, store, lambda: not closing.is_set())
            if not closing.is_set():
                placement.begin()

        async def follow() -> None:
            await reading
            await self._every(TICK_S, placement.tick)

        reading = asyncio.ensure_future(self._in_thread(read))
        self._stack.callback(closing.set)
        await asyncio.wait({reading}, timeout=RECOVERY_GRACE_S)
        if reading.done():
            reading.result()
        else:
            _log.info("still reading the last ten minutes back; headroom is cautious until then")
        self._background("placement", follow())

    async def _in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        work = functools.partial(call, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def _every(self, interval_s: float, call: Callable[[], object]) -> None:
        """Do ``call`` again and again; what a full disk prevents now may work the next time."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self._in_thread(call)
            except ChipwattError as error:
                _log.warning("upkeep failed, will try again", reason=str(error))

    def _background(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` until the collector closes; should it break, say so and go on without."""
        task = asyncio.create_task(work, name=name)

        def tell(done: asyncio.Task[None]) -> None:
            error = None if done.cancelled() else done.exception()
            if error is not None:
                _log.exception("a background task broke", error, task=name)

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        task.add_done_callback(tell)
        self._stack.push_async_callback(end)


async def serve(config: CollectorConfig, ready: Callable[[str], None]) -> None:
    """Run a collector until SIGTERM or SIGINT; calls ``ready`` with its address once it listens.

    Raises ChipwattError where it cannot start.
    """
    loop = asyncio.get_running_loop()
    stop = stop_requested(loop)
    allow_connections()
    async with Collector(config) as collector:
        loop.add_signal_handler(signal.SIGHUP, collector.reload)
        _log.info("listening", address=collector.address, tls=config.tls.is_set)
        if config.privacy.tier is Tier.OPERATOR:
            _log.warning(LOUD)
        if not config.tls.is_set and not is_private(config):
            _log.warning(
                "plain text over the network: whoever reaches this address may read and write",
                address=collector.address,
            )
        ready(collector.address)
        await stop.wait()
        _log.info("stopping")


def check(config: CollectorConfig) -> list[str]:
    """Return what is worth a warning; raises ChipwattError where files cannot be used."""
    topology = None if config.topology is None else load_topology(config.topology)
    if config.tls.is_set:
        server_credentials(config.tls)
    Enrolment(config).check()
    for destination in config.otlp.destinations():
        link_to(destination)
    return topology_warnings(topology) + plain_text_warnings(config)


def topology_warnings(topology: Topology | None) -> list[str]:
    """Return a sentence where hosts beneath a budget have no nameplate."""
    unrated = topology.unrated_beneath_budgets() if topology else []
    if not unrated:
        return []
    some = ", ".join(unrated[:5]) + (", ..." if len(unrated) > 5 else "")
    sentence = (
        f"hosts beneath a budget without rated power: {len(unrated)} ({some}); until each is heard "
        "from, the budgets above it count as used up: give them `rated`"
    )
    return [sentence]
