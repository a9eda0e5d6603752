"""A whole collector behind TLS: every role x every rpc."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pool

from chipwatt.collector import listening
from chipwatt.collector import server as composition
from chipwatt.collector.access.audit import FILE
from chipwatt.collector.access.role import Role
from chipwatt.collector.access.table import TABLE
from chipwatt.collector.config import CollectorConfig
from chipwatt.collector.server import Collector
from fakes.certified import Certified
from fakes.secured_collector import secured

REFUSALS = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)
PLACEMENT = {
    *("GetTopology", "WatchTopology", "GetHeadroom", "PredictPeak", "GetProfile", "ListProfiles"),
    *("RankCandidates", "WhatIf", "Reserve", "Commit", "Release", "ListReservations"),
    *("WatchPowerEvents", "SubmitFeedback", "GetSiteFactors"),
}
MAY = {
    "agent/node-7": {"Stream", "Renew"},
    "placement/scheduler": PLACEMENT | {"Renew"},
    "egress/metrics": {"ListHosts", "ListDevices", "ListWindows", "GetCollectorStatus", "Renew"},
    "operator/ann": PLACEMENT
    | {"PutSiteFactors", "ListHosts", "ListDevices", "ListWindows", "ListHostSeconds", "ListGaps"}
    | {"GetLatest", "ListConflicts", "GetCollectorStatus", "Renew"},
    "none/nobody": set(),
    "collector/itself": set(),
}
"""By design §7, written down apart from the table of the collector."""


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
