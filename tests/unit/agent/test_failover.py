"""What ends a stream decides where and when the next one begins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from chipwatt.agent.channel import TlsConfig
from chipwatt.agent.endpoints import Endpoints
from chipwatt.agent.spool.spool import Spool
from chipwatt.agent.spool.threaded import ThreadedSpool
from chipwatt.agent.uplink import Uplink
from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.settings import Duration
from chipwatt.v1 import telemetry_pb2 as pb
from fakes.telemetry_server import Behaviour, TelemetryServer
from fakes.uplink_rig import BOOT, FAST, HOST, poll, rig, run


class Pair:
    """Two addresses of one collector, and an agent that knows both."""

    def __init__(self, directory: Path, return_ms: int) -> None:
        self.first = TelemetryServer()
        self.second = TelemetryServer(self.first.stored)
        self.spool = ThreadedSpool(Spool(directory, BOOT))
        self.return_after = Duration(return_ms * NS_PER_MS)
        self.uplink: Uplink

    async def append(self, *numbers: int) -> None:
        await self.spool.append([(b"%d" % number, b"") for number in numbers])

    def arrivals(self) -> list[int]:
        return sorted(key[2] for server in (self.first, self.second) for key in server.arrivals)


@asynccontextmanager
async def pair(directory: Path, return_ms: int = 60_000) -> AsyncIterator[Pair]:
    both = Pair(directory, return_ms)
    await both.first.start()
    await both.second.start()
    both.uplink = Uplink(
        Endpoints([both.first.address, both.second.address]),
        FAST,
        TlsConfig(),
        HOST,
        both.spool,
        return_after=both.return_after,
    )
    running = asyncio.create_task(both.uplink.run())
    try:
        yield both
        assert not running.done(), running.exception()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await both.spool.close()
        await both.first.stop()
        await both.second.stop()


def test_the_standby_takes_over_and_the_first_choice_gets_it_back(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path, return_ms=150) as p:
            await p.append(*range(10))
            await p.spool.drained.wait()
            assert p.second.hellos == []
            await p.first.stop()
            await p.append(*range(10, 20))
            await p.spool.drained.wait()
            assert len(p.second.arrivals) == 10
            assert p.uplink.state.address == p.second.address
            await asyncio.sleep(0.4)  # the first choice was looked at and is still away
            assert p.uplink.state.connected
            assert len(p.second.hellos) == 1
            await p.first.start()
            await poll(lambda: len(p.first.hellos) == 2)
            await p.append(*range(20, 30))
            await p.spool.drained.wait()
            assert p.uplink.state.address == p.first.address
            # Nothing was sent twice, for the stream over the standby ended in order.
            assert p.arrivals() == list(range(1, 31))
            assert len(p.second.arrivals) == 10
            assert p.uplink.state.last_error == ""

    run(test())


def test_what_is_under_way_is_answered_before_a_stream_is_left(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path, return_ms=20) as p:
            await poll(lambda: p.uplink.state.connected)
            await p.first.stop()
            one = pb.Welcome(schema_version=1, max_in_flight=1)
            p.second.behaviour = Behaviour(welcome=one, pause_ms=400)
            await p.append(*range(5))
            await p.second.wait_for(1)
            await p.first.start()  # and the pause of the standby ends here
            await p.spool.drained.wait()
            assert p.arrivals() == [1, 2, 3, 4, 5]
            assert len(p.first.arrivals) == 4

    run(test())


def test_an_ack_of_either_settles_for_both(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path) as p:
            p.first.behaviour = Behaviour(close_after=3)  # stored, and the acks are lost
            await p.append(*range(6))
            await poll(lambda: len(p.first.arrivals) >= 3)
            await p.first.stop()
            await p.spool.drained.wait()
            assert len(p.first.stored) == 6
            assert p.first.conflicts == p.second.conflicts == []

    run(test())


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.FAILED_PRECONDITION]
)
def test_an_address_that_refuses_is_passed_by(tmp_path: Path, code: grpc.StatusCode) -> None:
    async def test() -> None:
        async with pair(tmp_path) as p:
            p.first.behaviour = Behaviour(abort_hello=code)
            await p.append(1)
            await p.first.stop()
            await p.first.start()
            await p.append(2)
            await p.spool.drained.wait()
            assert p.uplink.state.address == p.second.address

    run(test())


def test_where_all_refuse_they_are_asked_rarely(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path) as p:
            denied = Behaviour(abort_hello=grpc.StatusCode.UNAUTHENTICATED)
            p.first.behaviour = p.second.behaviour = denied
            await p.first.stop()
            await p.first.start()
            await poll(lambda: "refuses this agent" in p.uplink.state.last_error)
            await poll(lambda: bool(p.first.hellos and p.second.hellos))
            asked = len(p.first.hellos) + len(p.second.hellos)
            await asyncio.sleep(0.3)
            assert len(p.first.hellos) + len(p.second.hellos) <= asked + 1
            assert "until that is mended" in p.uplink.state.last_error

    run(test())


def test_a_full_collector_is_asked_again_when_it_says(tmp_path: Path) -> None:
    async def test() -> None:
        full = Behaviour(abort_hello=grpc.StatusCode.RESOURCE_EXHAUSTED, retry_s=0.4)
        async with rig(tmp_path, behaviour=full) as r:
            await r.append(b"kept")
            await r.until(lambda: len(r.server.hellos) == 2)
            first, second = r.server.hello_times
            assert 0.4 <= second - first < 1.5
            assert "takes no more for now" in r.uplink.state.last_error
            assert r.spool.counts.unacked == 1
            r.server.behaviour = Behaviour()
            await r.spool.drained.wait()

    run(test())


def test_a_full_collector_without_a_hint_is_asked_as_usual(tmp_path: Path) -> None:
    async def test() -> None:
        full = Behaviour(abort_hello=grpc.StatusCode.RESOURCE_EXHAUSTED)
        async with rig(tmp_path, replace(FAST), behaviour=full) as r:
            await r.until(lambda: len(r.server.hellos) >= 5)

    run(test())
