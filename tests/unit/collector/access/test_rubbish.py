from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from chipwatt.collector.access.audit import AuditLog
from chipwatt.collector.access.guard import Guard
from chipwatt.collector.config import CollectorConfig
from chipwatt.collector.latest import Latest
from chipwatt.collector.listening import bind, make_server
from chipwatt.collector.placement.assembly import Placement
from chipwatt.core.clock import NS_PER_S
from chipwatt.v1 import placement_pb2 as pb
from fakes.telemetry_records import T0_S


def asked(folder: Path, ask: Callable[[grpc.aio.Channel], Any]) -> Any:
    """Ask a collector's own kind of server, with placement on it."""
    placement = Placement(Latest(), lambda: T0_S * NS_PER_S, folder)
    audit = AuditLog(folder)

    async def run() -> Any:
        config = CollectorConfig(listen="127.0.0.1:0")
        server = make_server(config, [Guard(audit)])
        address = bind(server, config)
        with ThreadPoolExecutor(1) as executor:
            placement.serve(server, executor)
            await server.start()
            try:
                async with grpc.aio.insecure_channel(address) as channel:
                    return await ask(channel)
            finally:
                await server.stop(None)

    try:
        return asyncio.run(run())
    finally:
        audit.close()
        placement.close()


@pytest.mark.parametrize("rubbish", [b"\xff\xff\xff", b"\x0a\x05ab", b"\x0a\x02\xc3\x28"])
def test_rubbish_is_refused_and_not_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rubbish: bytes
) -> None:
    def ask(channel: Any) -> Any:
        return channel.unary_unary("/chipwatt.v1.PlacementService/Reserve")(rubbish)

    def watch(channel: Any) -> Any:
        return channel.unary_stream("/chipwatt.v1.PlacementService/WatchTopology")(rubbish).read()

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        asked(tmp_path, ask)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "the request is not the message of this rpc"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        asked(tmp_path, watch)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caplog.records == []


def test_what_is_right_is_answered_and_what_is_not_there_is_unimplemented(tmp_path: Path) -> None:
    service = "/chipwatt.v1.PlacementService/"

    def right(channel: grpc.aio.Channel) -> Any:
        return channel.unary_unary(
            f"{service}GetTopology",
            request_serializer=pb.GetTopologyRequest.SerializeToString,
            response_deserializer=pb.GetTopologyResponse.FromString,
        )(pb.GetTopologyRequest())

    assert [node.id for node in asked(tmp_path / "a", right).nodes] == ["site"]

    def nothing(channel: Any) -> Any:
        return channel.unary_unary(f"{service}Steer")(b"")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        asked(tmp_path / "b", nothing)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
