"""A whole collector behind TLS: every role x every rpc, and certificates that are no good."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pool

from chipwatt.collector import listening
from chipwatt.collector import server as composition
from chipwatt.collector.access.audit import FILE
from chipwatt.collector.access.config import AccessConfig
from chipwatt.collector.access.role import Role
from chipwatt.collector.access.table import TABLE
from chipwatt.collector.config import CollectorConfig
from chipwatt.collector.server import Collector
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.settings import Duration
from chipwatt.v1 import telemetry_pb2 as pb
from chipwatt.v1 import telemetry_pb2_grpc
from fakes.certified import Certified, connect
from fakes.telemetry_records import a_host

HELLO = pb.StreamRequest(hello=pb.Hello(schema_version=1, host_id=a_host(9), boot_id=bytes(16)))
REFUSALS = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)
PLACEMENT = {
    *("GetTopology", "WatchTopology", "GetHeadroom", "PredictPeak", "GetProfile", "ListProfiles"),
    *("RankCandidates", "WhatIf", "Reserve", "Commit", "Release", "ListReservations"),
    *("WatchPowerEvents", "SubmitFeedback", "GetSiteFactors"),
}
MAY = {
    "agent/node-7": {"Stream", "Renew"},
    "placement/scheduler": PLACEMENT | {"Renew"},
    "egress/metrics": {"ListHosts", "ListDevices", "GetCollectorStatus", "Renew"},
    "operator/ann": PLACEMENT
    | {"PutSiteFactors", "ListHosts", "ListDevices", "ListWindows", "ListHostSeconds", "ListGaps"}
    | {"GetLatest", "ListConflicts", "GetCollectorStatus", "Renew"},
    "none/nobody": set(),
    "collector/itself": set(),
}
"""By design §7, written down apart from the table of the collector."""


@asynccontextmanager
async def secured(
    folder: Path, certified: Certified, access: AccessConfig | None = None
) -> AsyncIterator[str]:
    config = CollectorConfig(
        listen="127.0.0.1:0", state_dir=folder / "state", tls=certified.collector()
    )
    if access is not None:
        config = replace(config, access=access)
    async with Collector(config) as collector:
        yield collector.address


@contextmanager
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Collect the handlers of every service that a collector serves."""
    found: dict[str, Any] = {}
    make = listening.make_server

    def spied(*args: Any) -> grpc.aio.Server:
        server = make(*args)
        add = server.add_generic_rpc_handlers

        def note(handlers: Any) -> None:
            for handler in handlers:
                # A service that brings handlers of another kind is to be looked at by a person.
                found.update(handler._method_handlers)
            add(handlers)

        monkeypatch.setattr(server, "add_generic_rpc_handlers", note)
        return server

    with monkeypatch.context() as patch:
        patch.setattr(composition, "make_server", spied)
        yield found


def test_every_rpc_that_is_served_stands_in_the_table_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with Collector(CollectorConfig(listen="127.0.0.1:0", state_dir=tmp_path)):
            pass

    with registered(monkeypatch) as found:
        asyncio.run(test())
    assert found.keys() == TABLE.keys(), "an rpc needs a row that says who may call it"
    pool = descriptor_pool.Default()
    services = {path.split("/")[1] for path in found}
    described = {
        f"/{service}/{method.name}"
        for service in services
        for method in pool.FindServiceByName(service).methods
    }
    assert described == TABLE.keys(), "and every rpc of a service that is served has one"
    assert {path.rpartition("/")[2] for path in TABLE} == set().union(*MAY.values())


def test_every_role_may_call_what_the_design_says_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certified = Certified(tmp_path)
    wrong: list[str] = []

    async def test(found: Mapping[str, Any]) -> None:
        async with secured(tmp_path, certified) as address:
            for who, may in MAY.items():
                async with certified.channel(address, who) as channel:
                    for path, handler in found.items():
                        code = await status(channel, path, handler)
                        expected = path.rpartition("/")[2] in may
                        if expected is (code in REFUSALS):
                            wrong.append(f"{who} {path}: {code}")

    with registered(monkeypatch) as found:
        asyncio.run(asyncio.wait_for(test(found), 120))
    assert len(found) * len(MAY) >= 6 * 25
    assert wrong == []
    lines = [json.loads(line) for line in (tmp_path / "state" / FILE).read_text().splitlines()]
    refused = {(line["role"], line["rpc"]) for line in lines if line["event"] == "refused"}
    assert ("agent", "/chipwatt.v1.QueryService/ListWindows") in refused
    called = {line["rpc"] for line in lines if line["event"] == "called"}
    assert {path.rpartition("/")[2] for path in called} == MAY["operator/ann"]
    assert {line["role"] for line in lines} == set(Role), "each was refused something"


async def status(channel: grpc.aio.Channel, path: str, handler: Any) -> grpc.StatusCode:
    """Call with an empty request and look no further than whether it is let in."""
    kind = ("unary" if not handler.request_streaming else "stream") + (
        "_stream" if handler.response_streaming else "_unary"
    )
    request: Any = iter(()) if handler.request_streaming else b""
    call: Any = getattr(channel, kind)(path)(request)
    try:
        await asyncio.wait_for(call.read() if handler.response_streaming else call, 20)
    except grpc.aio.AioRpcError as error:
        return error.code()
    call.cancel()
    return grpc.StatusCode.OK


async def opened(channel: grpc.aio.Channel) -> Any:
    """Open an agent's stream and read its welcome."""
    call: Any = telemetry_pb2_grpc.TelemetryServiceStub(channel).Stream()
    await call.write(HELLO)
    answer = await asyncio.wait_for(call.read(), 20)
    assert answer.HasField("welcome")
    return call


async def end(call: Any) -> grpc.StatusCode:
    try:
        assert await asyncio.wait_for(call.read(), 30) is grpc.aio.EOF
    except grpc.aio.AioRpcError as error:
        return error.code()
    code: grpc.StatusCode = await call.code()
    return code


async def cannot_open(channel: grpc.aio.Channel) -> grpc.StatusCode:
    with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)) as refused:
        await opened(channel)
    assert isinstance(refused.value, grpc.aio.AioRpcError), refused.value
    return refused.value.code()


def run(test: Callable[[], Any]) -> None:
    asyncio.run(asyncio.wait_for(test(), 100))


def test_a_certificate_that_expires_ends_its_live_stream_and_does_not_come_back(
    tmp_path: Path,
) -> None:
    certified = Certified(tmp_path)

    async def test() -> None:
        async with secured(tmp_path, certified) as address:
            lasts_s = 4
            ends_s = time.time() + lasts_s
            files = certified.files("agent/node-7", lasts_s)
            async with (
                connect(address, files) as soon_over,
                certified.channel(address, "agent/node-8") as other,
            ):
                cut, kept = await opened(soon_over), await opened(other)
                assert await end(cut) is grpc.StatusCode.UNAUTHENTICATED
                assert time.time() < ends_s + 5, "long before the connection is an hour old"
                assert not kept.done()
                # On the connection that is still open, and on a new one.
                assert await cannot_open(soon_over) is grpc.StatusCode.UNAUTHENTICATED
            async with connect(address, files) as again:
                assert await cannot_open(again) is grpc.StatusCode.UNAVAILABLE

    run(test)


def test_foreign_and_swapped_certificates_are_refused(tmp_path: Path) -> None:
    certified, foreign = Certified(tmp_path), Certified(tmp_path / "foreign")
    node = certified.files("agent/node-7")
    other = certified.files("agent/node-8")

    async def test() -> None:
        async with secured(tmp_path, certified) as address:
            for files in (
                # Of another authority, with the right name; trusting ours all the same.
                foreign.files("agent/node-7"),
                # Somebody else's certificate without its key.
                replace(node, cert=other.cert),
            ):
                async with connect(address, files, ca=node.ca) as channel:
                    assert await cannot_open(channel) is grpc.StatusCode.UNAVAILABLE
            # An agent that answers for a collector: it names no address.
        impostor = grpc.aio.server()
        assert node.ca
        assert node.cert
        assert node.key
        pair = (node.key.read_bytes(), node.cert.read_bytes())
        credentials = grpc.ssl_server_credentials([pair], node.ca.read_bytes(), True)
        port = impostor.add_secure_port("127.0.0.1:0", credentials)
        await impostor.start()
        async with connect(f"127.0.0.1:{port}", other) as channel:
            assert await cannot_open(channel) is grpc.StatusCode.UNAVAILABLE
        await impostor.stop(None)

    run(test)


def test_who_says_hello_as_another_host_is_still_itself(tmp_path: Path) -> None:
    certified = Certified(tmp_path)

    async def test() -> None:
        async with (
            secured(tmp_path, certified) as address,
            certified.channel(address, f"agent/{a_host(7).hex()}") as node,
            certified.channel(address, "operator/ann") as ann,
        ):
            await opened(node)  # it says that it is host 9
            path = "/chipwatt.v1.QueryService/ListHosts"
            listed = await ann.unary_unary(path)(b"")
            assert a_host(7).hex().encode() in listed
            assert a_host(9).hex().encode() not in listed

    run(test)


def test_no_connection_outlives_its_age(tmp_path: Path) -> None:
    certified = Certified(tmp_path)
    age = AccessConfig(connection_age=Duration(NS_PER_S))

    async def test() -> None:
        async with (
            secured(tmp_path, certified, age) as address,
            certified.channel(address, "agent/node-7") as channel,
        ):
            began_s = time.monotonic()
            call = await opened(channel)
            assert await end(call) is not grpc.StatusCode.OK
            # Age with a tenth of jitter, and as much again as grace.
            assert time.monotonic() - began_s < 2.2 + 10
            (await opened(channel)).cancel()

    run(test)


def test_a_stream_that_says_nothing_is_ended(tmp_path: Path) -> None:
    certified = Certified(tmp_path)
    idle = AccessConfig(stream_idle=Duration(NS_PER_S))

    async def test() -> None:
        async with (
            secured(tmp_path, certified, idle) as address,
            certified.channel(address, "agent/node-7") as channel,
        ):
            call = await opened(channel)
            assert await end(call) is grpc.StatusCode.UNAVAILABLE
            assert (await call.details()).startswith("nothing came for 1 s")

    run(test)
