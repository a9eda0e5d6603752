"""The interceptor before real handlers on a real socket, with certificates and without."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from chipwatt.collector.access.audit import FILE, AuditLog
from chipwatt.collector.access.caller import caller_of
from chipwatt.collector.access.guard import MAX_STREAMS_AN_AGENT, Guard
from chipwatt.collector.access.role import Role
from chipwatt.collector.access.table import Row
from chipwatt.collector.listening import server_credentials
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.retry_hint import retry_delay_s
from chipwatt.v1 import placement_pb2 as pb
from fakes.certified import OPTIONS, Certified

OPERATOR = frozenset({Role.OPERATOR})
AGENT = frozenset({Role.AGENT})
TABLE = {
    "/t.T/One": Row(OPERATOR, max_bytes=1000, is_audited=True),
    "/t.T/Watch": Row(OPERATOR),
    "/t.T/Gather": Row(OPERATOR, max_bytes=1000),
    "/t.T/Both": Row(AGENT),
}
Context = grpc.aio.ServicerContext[Any, Any]


class Clock:
    """The wall clock, put forward by hand."""

    ahead_ns = 0

    def __call__(self) -> int:
        return time.time_ns() + self.ahead_ns


class Served:
    """What the handlers saw."""

    def __init__(self) -> None:
        self.callers: list[str] = []
        self.ended = asyncio.Event()

    async def one(self, request: pb.WhatIfRequest, context: Context) -> pb.WhatIfResponse:
        self.callers.append(f"{caller_of(context).role} {caller_of(context).name}")
        # A field that our schema does not know does not come this far.
        assert pb.WhatIfRequest(snapshot_id=request.snapshot_id).SerializeToString() == (
            request.SerializeToString()
        )
        return pb.WhatIfResponse()

    async def watch(
        self, _: pb.WhatIfRequest, context: Context
    ) -> AsyncIterator[pb.WhatIfResponse]:
        self.callers.append(str(caller_of(context).role))
        try:
            yield pb.WhatIfResponse()
            await asyncio.Event().wait()
        finally:
            self.ended.set()

    async def gather(
        self, requests: AsyncIterable[pb.WhatIfRequest], _: Context
    ) -> pb.WhatIfResponse:
        return pb.WhatIfResponse(snapshot_id=str(len([one async for one in requests])))

    async def both(
        self, requests: AsyncIterable[pb.WhatIfRequest], _: Context
    ) -> AsyncIterator[pb.WhatIfResponse]:
        async for _request in requests:
            yield pb.WhatIfResponse()


@asynccontextmanager
async def served(
    folder: Path, certified: Certified | None = None, **changes: Any
) -> AsyncIterator[tuple[str, Served]]:
    audit = AuditLog(folder)
    guard = Guard(audit, **({"table": TABLE} | changes))
    server = grpc.aio.server(interceptors=[guard])
    does = Served()
    parse, write = pb.WhatIfRequest.FromString, pb.WhatIfResponse.SerializeToString
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "One": grpc.unary_unary_rpc_method_handler(does.one, parse, write),
        "Unlisted": grpc.unary_unary_rpc_method_handler(does.one, parse, write),
        "Watch": grpc.unary_stream_rpc_method_handler(does.watch, parse, write),
        "Gather": grpc.stream_unary_rpc_method_handler(does.gather, parse, write),
        "Both": grpc.stream_stream_rpc_method_handler(does.both, parse, write),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", handlers),))
    if certified is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", server_credentials(certified.collector()))
    await server.start()
    try:
        yield f"127.0.0.1:{port}", does
    finally:
        await server.stop(None)
        audit.close()


def plain(address: str) -> Any:
    return grpc.aio.insecure_channel(address, OPTIONS)


async def one(channel: Any, raw: bytes = b"", method: str = "One") -> str:
    """Return how a unary call went: OK, or the status and its sentence."""
    return await outcome(channel.unary_unary(f"/t.T/{method}")(raw))


async def outcome(call: Any) -> str:
    async with asyncio.timeout(20):
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
    return "OK"


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


def audited(folder: Path) -> list[tuple[str, str, str]]:
    lines = [json.loads(line) for line in (folder / FILE).read_text().splitlines()]
    return [(line["event"], line["name"], line["rpc"]) for line in lines]


def test_this_machine_may_everything_that_is_listed_and_nothing_else(tmp_path: Path) -> None:
    async def test() -> None:
        async with served(tmp_path) as (address, does), plain(address) as channel:
            assert await one(channel) == "OK"
            assert await outcome(channel.stream_unary("/t.T/Gather")(iter([b"", b""]))) == "OK"
            assert does.callers == ["operator 127.0.0.1"]
            both = channel.stream_stream("/t.T/Both")(iter([b""]))
            assert await both.read() == b""
            refused = await one(channel, method="Unlisted")
            assert refused.startswith("PERMISSION_DENIED: t.T/Unlisted takes the role that nobody")
            assert (await one(channel, method="Unknown")).startswith("UNIMPLEMENTED")

    run(test)
    assert audited(tmp_path) == [
        ("called", "127.0.0.1", "/t.T/One"),
        ("refused", "127.0.0.1", "/t.T/Unlisted"),
    ]


def test_a_certificate_of_another_role_is_refused_before_its_request_is_parsed(
    tmp_path: Path,
) -> None:
    certified = Certified(tmp_path)

    async def test() -> None:
        async with served(tmp_path, certified) as (address, does):
            async with certified.channel(address, "placement/sched") as channel:
                assert await one(channel, b"\xff") == (
                    "PERMISSION_DENIED: t.T/One takes the role operator; the caller is "
                    "placement 'sched'"
                )
                watch = channel.unary_stream("/t.T/Watch")(b"")
                assert (await outcome(watch.read())).startswith("PERMISSION_DENIED")
            async with certified.channel(address, "collector/other") as channel:
                assert (await one(channel)).startswith("UNAUTHENTICATED: the certificate names no")
            async with certified.channel(address, "operator/ann") as channel:
                assert await one(channel) == "OK"
            assert does.callers == ["operator ann"]

    run(test)
    assert audited(tmp_path) == [
        ("refused", "sched", "/t.T/One"),
        ("refused", "sched", "/t.T/Watch"),
        ("refused", "", "/t.T/One"),
        ("called", "ann", "/t.T/One"),
    ]


def test_sizes_and_nonsense_end_in_a_sentence(tmp_path: Path) -> None:
    async def test() -> None:
        async with served(tmp_path) as (address, does), plain(address) as channel:
            # 1,001 bytes: five hundred empty submessages and a bit.
            assert await one(channel, b"\x12\x00" * 500 + b"\0") == (
                "INVALID_ARGUMENT: the request has 1001 bytes, at most 1000 are taken"
            )
            assert (await one(channel, b"\xff")).startswith("INVALID_ARGUMENT: the request is not")
            gather = channel.stream_unary("/t.T/Gather")(iter([b"", b"\0" * 1001]))
            assert (await outcome(gather)).startswith("INVALID_ARGUMENT: the request has 1001")
            assert does.callers == []
            unknown_field = b"\x9a\x06\x06secret"
            known = pb.WhatIfRequest(snapshot_id="s").SerializeToString()
            assert await one(channel, known + unknown_field) == "OK"
            assert does.callers == ["operator 127.0.0.1"]

    run(test)


def test_the_end_of_a_certificate_is_looked_at_with_each_call_and_message(tmp_path: Path) -> None:
    certified, clock = Certified(tmp_path), Clock()

    async def test() -> None:
        async with (
            served(tmp_path, certified, unix_ns=clock) as (address, _),
            certified.channel(address, "operator/ann") as ann,
            certified.channel(address, "agent/node-7") as node,
        ):
            assert await one(ann) == "OK"
            both = node.stream_stream("/t.T/Both")()
            await both.write(b"")
            assert await both.read() == b""
            # The connections stay open; a clock that is put forward is believed at once.
            clock.ahead_ns = 86_500 * NS_PER_S
            sentence = "UNAUTHENTICATED: the certificate of 'ann' has expired; connect again with"
            assert (await one(ann)).startswith(sentence)
            await both.write(b"")
            assert (await outcome(both.read())).startswith("UNAUTHENTICATED: the certificate of 'n")

    run(test)


def test_a_silent_stream_ends_with_its_certificate(tmp_path: Path) -> None:
    certified = Certified(tmp_path)

    async def test() -> None:
        async with (
            served(tmp_path, certified) as (address, does),
            certified.channel(address, "operator/ann", lasts_s=3) as ann,
            certified.channel(address, "operator/bob") as bob,
        ):
            watch, other = (channel.unary_stream("/t.T/Watch")(b"") for channel in (ann, bob))
            assert await watch.read() == b""
            assert await other.read() == b""
            assert (await outcome(watch.read())).startswith("UNAUTHENTICATED: the certificate of")
            await does.ended.wait()
            assert not other.done()

    run(test)


@pytest.mark.parametrize(
    ("most", "path", "expected"), [(2, "operator/ann", 2), (9, "agent/a", MAX_STREAMS_AN_AGENT)]
)
def test_more_than_may_be_open_come_again_later(
    tmp_path: Path, most: int, path: str, expected: int
) -> None:
    certified = Certified(tmp_path)

    async def test() -> None:
        async with (
            served(tmp_path, certified, calls_per_source=most) as (address, _),
            certified.channel(address, path) as channel,
        ):

            def call() -> Any:
                if path.startswith("agent"):
                    return channel.stream_stream("/t.T/Both")(one_and_no_end())
                return channel.unary_stream("/t.T/Watch")(b"")

            streams = [call() for _ in range(expected)]
            for stream in streams:
                assert await stream.read() == b""
            late = call()
            assert "too many calls of" in await outcome(late.read())
            assert await late.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            hint_s = retry_delay_s(tuple(await late.trailing_metadata()))
            assert hint_s is not None
            assert 1 <= hint_s <= 15
            streams[0].cancel()
            async with asyncio.timeout(20):
                while await outcome((again := call()).read()) != "OK":  # noqa: ASYNC110 - no news
                    await asyncio.sleep(0.02)
            again.cancel()

    run(test)


async def one_and_no_end() -> AsyncIterator[bytes]:
    yield b""
    await asyncio.Event().wait()
