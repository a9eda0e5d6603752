"""The agent process: builds its stages, runs them, ends them in order.

::

    sensing process → intake → spool → uplink
                        status file looks at all of them
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import grpc.aio

from chipwatt.agent import sensing_child
from chipwatt.agent.bindings import Bindings
from chipwatt.agent.config import AgentConfig
from chipwatt.agent.endpoints import Endpoints
from chipwatt.agent.intake import Intake
from chipwatt.agent.sensing_child import SensingChild
from chipwatt.agent.sensing_link import Start
from chipwatt.agent.sensing_peer import SensingPeer
from chipwatt.agent.spool.spool import Spool
from chipwatt.agent.spool.threaded import ThreadedSpool
from chipwatt.agent.status_file import StatusFile
from chipwatt.agent.uplink import Host, Uplink
from chipwatt.agent.workload_service import serve as serve_workloads
from chipwatt.core import identity, log
from chipwatt.core.clock import NS_PER_S, SystemClock
from chipwatt.core.errors import ConfigError, SpoolError
from chipwatt.core.lifecycle import stop_requested
from chipwatt.core.wire import VERSION

STATUS_EVERY_S = 1.0
FLUSH_S = 2.0
"""How long an agent that ends waits for the disk to take what is left in memory."""
_log = log.get(__name__)


class Daemon:
    """One run of the agent."""

    def __init__(
        self, config: AgentConfig, sensing_command: Sequence[str] = sensing_child.COMMAND
    ) -> None:
        """Open the spool, whose directory is made where there is none.

        Raises SpoolError or ConfigError. To be called on the event loop that ``run`` is.
        """
        boot_id = identity.boot_id()
        self._config = config
        self._spool = ThreadedSpool(Spool(config.state_dir / "spool", boot_id, config.spool))
        try:
            host_id = identity.host_id(config.state_dir)
        except OSError as error:
            raise SpoolError(
                f"{config.state_dir}: this host's id cannot be kept: {error.strerror}; "
                "give --state-dir a folder that this user may write"
            ) from None
        major, minor, patch = VERSION
        host = Host(host_id, boot_id, major * 1_000_000 + minor * 1000 + patch)
        self._intake = Intake(self._spool)
        start = Start(
            config.sensing.to_plain(), config.sources, state_dir=str(config.state_dir.absolute())
        )
        self._child = (
            SensingChild(start, self._intake, sensing_command)
            if config.sensing_socket is None
            else SensingPeer(start, self._intake, config.sensing_socket)
        )
        self._bindings = Bindings(
            config.state_dir / "workloads.json", boot_id, self._child.set_bindings
        )
        self._uplink = Uplink(
            Endpoints(config.failover.order(config.collector, host_id)),
            config.uplink,
            config.tls,
            host,
            self._spool,
            return_after=config.failover.return_after,
            on_cadence=self._child.set_cadence,
        )
        self._status = StatusFile(
            config.status_path,
            config.collector,
            SystemClock(),
            self._spool,
            self._intake,
            self._child,
            self._uplink.state,
        )

    async def run(self, stop: asyncio.Event, *, until_delivered: bool = False) -> None:
        """Run until ``stop`` is set; what could not be delivered waits in the spool.

        With ``until_delivered`` also until a replay has ended and the collector
        has all of it. Raises ConfigError or TraceError where the sensing process
        cannot do what the settings ask for.
        """
        try:
            workloads = await self._serve_workloads()
        except ConfigError:
            await self._spool.close()
            raise
        sensing = asyncio.create_task(self._child.run())
        main = asyncio.create_task(self._until_end(sensing, stop, until_delivered))
        endless = [
            asyncio.create_task(work)
            for work in (self._intake.run(), self._uplink.run(), self._write_status())
        ]
        _log.info(
            "agent started", collector=self._config.collector, state_dir=self._config.state_dir
        )
        try:
            await asyncio.wait([main, *endless], return_when=asyncio.FIRST_COMPLETED)
            for stage in endless:
                if stage.done():
                    stage.result()  # it has failed, and that is a fault of ours
            await main
        finally:
            tasks = (main, sensing, *endless)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if workloads is not None:
                await workloads.stop(None)
            await self._spool.close()
            self._status.write(ended=True)
        _log.info("agent ended", unacked=self._spool.counts.unacked)

    async def _serve_workloads(self) -> grpc.aio.Server | None:
        """Listen to schedulers; an agent that nobody told how goes on where it cannot."""
        config = self._config
        if not config.workloads.enabled:
            return None
        try:
            return await serve_workloads(
                config.workload_socket,
                config.workloads.group,
                self._bindings,
                lambda: self._child.devices,
            )
        except ConfigError as error:
            if config.workloads.is_chosen:
                raise
            _log.warning("no workload can be bound here", reason=error)
            return None

    async def _until_end(
        self, sensing: asyncio.Task[None], stop: asyncio.Event, until_delivered: bool
    ) -> None:
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([sensing, stopped], return_when=asyncio.FIRST_COMPLETED)
            if sensing.done() and sensing.exception() is None:
                if until_delivered:
                    delivered = asyncio.create_task(self._delivered())
                    await asyncio.wait([delivered, stopped], return_when=asyncio.FIRST_COMPLETED)
                    delivered.cancel()
                else:
                    await stopped
        finally:
            stopped.cancel()
        self._child.stop()
        await asyncio.wait([sensing])
        with suppress(TimeoutError):
            await asyncio.wait_for(self._intake.flush(), FLUSH_S)
        with suppress(TimeoutError):
            grace_s = self._config.drain_grace / NS_PER_S
            await asyncio.wait_for(self._spool.drained.wait(), grace_s)
        await sensing

    async def _delivered(self) -> None:
        await self._intake.flush()
        await self._spool.drained.wait()

    async def _write_status(self) -> None:
        while True:
            self._status.write()
            await asyncio.sleep(STATUS_EVERY_S)


def serve(config: AgentConfig, *, until_delivered: bool) -> None:
    """Run the agent on an event loop of its own until a signal ends it.

    Raises SpoolError where the state directory cannot be used, ConfigError and
    TraceError as ``Daemon.run`` does.
    """
    log.setup(config.log)

    async def session() -> None:
        stop = stop_requested(asyncio.get_running_loop())
        await Daemon(config).run(stop, until_delivered=until_delivered)

    asyncio.run(session())
