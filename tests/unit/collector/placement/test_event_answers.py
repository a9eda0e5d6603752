from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from chipwatt.collector.placement import event_answers
from chipwatt.collector.placement.event_log import KEPT
from chipwatt.core.clock import NS_PER_S
from chipwatt.v1 import placement_pb2 as pb
from chipwatt.v1 import placement_pb2_grpc
from unit.collector.placement.hall import Hall, W, a_request, topology_text

Stub = Any
Ask = pb.WatchPowerEventsRequest
Tell = pb.WatchPowerEventsResponse
WARNING = pb.SEVERITY_WARNING
CALM, HIGH = (100, 100, 100, 100), (100, 100, 480, 490)
"""With ``HIGH`` rack r1 passes its 890 W and the hosts theirs."""


@asynccontextmanager
async def serving(hall: Hall) -> AsyncIterator[Stub]:
    server = grpc.aio.server()
    watch = grpc.unary_stream_rpc_method_handler(
        hall.events.watch,
        request_deserializer=Ask.FromString,
        response_serializer=Tell.SerializeToString,
    )
    service = pb.DESCRIPTOR.services_by_name["PlacementService"].full_name
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"WatchPowerEvents": watch}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
            yield placement_pb2_grpc.PlacementServiceStub(channel)
    finally:
        hall.events.close()
        await server.stop(5)


def on(hall: Hall, scene: Callable[[Stub], Awaitable[None]]) -> None:
    async def play() -> None:
        async with serving(hall) as stub:
            await asyncio.wait_for(scene(stub), 60)

    hall.history(*CALM)
    hall.skip(1, *CALM)
    hall.skip(65, *CALM)
    asyncio.run(play())


async def opened(stub: Stub, request: Ask) -> tuple[Any, Tell]:
    """Return a stream and its first answer."""
    stream = stub.WatchPowerEvents(request)
    first = await stream.read()
    assert isinstance(first, Tell)
    return stream, first


async def told(stream: Any, count: int) -> list[tuple[str, str]]:
    events = [(await stream.read()).event for _ in range(count)]
    return [(event.node_id, pb.PowerEventKind.Name(event.kind)[17:]) for event in events]


@pytest.fixture
def hall(tmp_path: Path) -> Any:
    with Hall(tmp_path) as hall:
        yield hall


def test_a_watcher_is_told_what_begins_and_what_is_over(hall: Hall) -> None:
    async def scene(stub: Stub) -> None:
        stream, first = await opened(stub, Ask(min_severity=WARNING))
        assert not first.HasField("event")
        assert first.resume_token
        assert not first.missed
        hall.run(1, *HIGH)
        assert await told(stream, 3) == [
            ("r1", "THRESHOLD_2"), ("h2", "THRESHOLD_2"), ("h3", "THRESHOLD_2"),
        ]  # fmt: skip
        hall.run(1, *CALM)
        answer = await stream.read()
        assert answer.event.kind == pb.POWER_EVENT_KIND_CLEARED
        assert answer.event.cleared_kind == pb.POWER_EVENT_KIND_THRESHOLD_2
        assert answer.event.severity == WARNING
        assert answer.event.seq > 3

    on(hall, scene)


def test_advice_names_the_least_important_first(hall: Hall) -> None:
    request = a_request("vip", "h3", 10)
    request.demand.priority = 7
    hall.history(*CALM)
    made = hall.reservations.reserve(request).reservation
    hall.reservations.commit(
        pb.CommitRequest(reservation_id=made.reservation_id, workload_id="ab" * 16)
    )

    async def scene(stub: Stub) -> None:
        stream, _ = await opened(stub, Ask(min_severity=WARNING))
        outlook = hall.run(1, *HIGH)
        event = (await stream.read()).event
        assert (event.node_id, event.observed_mw, event.limit_mw) == ("r1", 970 * W, 890 * W)
        # Back below 84 % of 1 kW: h2 gives all it can, which is enough.
        (advice,) = event.cap_advice
        assert (advice.target_id, advice.order, advice.priority) == ("h2", 0, 0)
        assert (advice.cap_mw, advice.expected_saving_mw) == (350 * W, 130 * W)
        assert advice.valid_until_unix_ns == event.at_unix_ns + 60 * NS_PER_S
        assert event.at_unix_ns // NS_PER_S == outlook.as_of_unix_ns // NS_PER_S

    on(hall, scene)


def test_a_watcher_goes_on_where_it_was_cut_off(hall: Hall) -> None:
    async def scene(stub: Stub) -> None:
        stream, first = await opened(stub, Ask(min_severity=WARNING))
        stream.cancel()
        hall.run(1, *HIGH)
        stream, again = await opened(
            stub, Ask(min_severity=WARNING, resume_token=first.resume_token)
        )
        assert again.resume_token == first.resume_token
        answer = await stream.read()
        assert (answer.event.node_id, answer.missed) == ("r1", False)
        stream.cancel()
        stream, _ = await opened(stub, Ask(min_severity=WARNING, resume_token=answer.resume_token))
        assert await told(stream, 2) == [("h2", "THRESHOLD_2"), ("h3", "THRESHOLD_2")]

    on(hall, scene)


def test_a_token_of_an_old_run_is_told_and_goes_on(hall: Hall) -> None:
    async def scene(stub: Stub) -> None:
        stream, first = await opened(stub, Ask(resume_token="0123456789abcdef-77"))
        assert first.missed
        assert not first.HasField("event")
        hall.run(1, *HIGH)
        answer = await stream.read()
        assert (answer.event.seq, answer.missed) == (1, False)

    on(hall, scene)


def test_who_is_too_slow_is_told_and_delays_nobody(hall: Hall) -> None:
    async def scene(stub: Stub) -> None:
        stream, first = await opened(stub, Ask())
        # More than the ring holds happens before the watcher's turn comes.
        hall.events._log.append(pb.PowerEvent(node_id="site") for _ in range(KEPT + 5))
        answer = await stream.read()
        assert (answer.event.seq, answer.missed) == (6, True)
        assert not (await stream.read()).missed
        assert first.resume_token != answer.resume_token

    on(hall, scene)


@pytest.mark.parametrize(
    ("selector", "nodes"),
    [
        (pb.Selector(kinds=[pb.NODE_KIND_RACK]), ["r1"]),
        (pb.Selector(beneath_id="r1"), ["r1", "h2", "h3"]),
        (pb.Selector(beneath_id="r0"), []),
        (pb.Selector(beneath_id="r1", kinds=[pb.NODE_KIND_HOST]), ["h2", "h3"]),
        (pb.Selector(hw_class="h100"), []),
    ],
)
def test_a_selector_chooses_nodes(hall: Hall, selector: pb.Selector, nodes: list[str]) -> None:
    async def scene(stub: Stub) -> None:
        stream, _ = await opened(stub, Ask(min_severity=WARNING, selector=selector))
        everything, _ = await opened(stub, Ask(min_severity=WARNING))
        hall.run(1, *HIGH)
        assert len(await told(everything, 3)) == 3
        assert [node for node, _ in await told(stream, len(nodes))] == nodes
        hall.events.close()
        assert await stream.read() is grpc.aio.EOF

    on(hall, scene)


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (Ask(resume_token="?"), grpc.StatusCode.INVALID_ARGUMENT, "resume_token: not a token"),
        (Ask(min_severity=9), grpc.StatusCode.INVALID_ARGUMENT, "min_severity: 9"),  # type: ignore[arg-type]
        (
            Ask(selector=pb.Selector(beneath_id="r7")),
            grpc.StatusCode.NOT_FOUND,
            "selector.beneath_id: no power node 'r7'",
        ),
        (
            Ask(selector=pb.Selector(kinds=[77])),  # type: ignore[list-item]
            grpc.StatusCode.INVALID_ARGUMENT,
            "selector.kinds: 77",
        ),
    ],
)
def test_bad_input(hall: Hall, request_: Ask, code: grpc.StatusCode, words: str) -> None:
    async def scene(stub: Stub) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await opened(stub, request_)
        assert refused.value.code() is code
        assert (refused.value.details() or "").startswith(words)

    on(hall, scene)


def test_a_stream_ends_when_its_node_is_gone(hall: Hall) -> None:
    async def scene(stub: Stub) -> None:
        stream, _ = await opened(stub, Ask(selector=pb.Selector(beneath_id="h0")))
        other, _ = await opened(stub, Ask(selector=pb.Selector(beneath_id="r0")))
        hall.path.write_text(topology_text(hosts=[1, 2, 3]))
        hall.run(1, *HIGH)
        with pytest.raises(grpc.aio.AioRpcError) as gone:
            await stream.read()
        assert gone.value.code() is grpc.StatusCode.NOT_FOUND
        other.cancel()

    on(hall, scene)


def test_only_so_many_may_watch(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_answers, "MAX_WATCHERS", 1)

    async def scene(stub: Stub) -> None:
        await opened(stub, Ask())
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await opened(stub, Ask())
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    on(hall, scene)


def test_watchers_leave_nothing_behind(hall: Hall) -> None:
    async def scene(stub: Stub) -> None:
        stream, _ = await opened(stub, Ask())
        assert hall.events._log.listening == 1
        stream.cancel()
        while hall.events._log.listening:  # noqa: ASYNC110 - the server tells nobody of it
            await asyncio.sleep(0)

    on(hall, scene)


def test_a_telemetry_loss_and_its_end(hall: Hall) -> None:
    async def scene(stub: Stub) -> None:
        stream, _ = await opened(
            stub, Ask(selector=pb.Selector(beneath_id="h0"), min_severity=WARNING)
        )
        hall.run(32, None, 100, 100, 100)
        # It counts with its nameplate, which is its budget; yet nobody saw that it draws so much.
        assert await told(stream, 1) == [("h0", "TELEMETRY_LOST")]
        hall.run(1, *CALM)
        assert await told(stream, 1) == [("h0", "CLEARED")]

    on(hall, scene)
