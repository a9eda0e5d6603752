"""Row 14: agents and collectors of the release before and of the one to come.

The release before is a frozen descriptor set, ``tests/golden/v1.binpb``, and messages
made from it by name. The release to come is this one's wire with what only it
could know: fields, enum values, message kinds.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from chipwatt.agent.spool.contract import Spooled
from chipwatt.core.wire import SCHEMA_VERSION, digest
from chipwatt.v1 import telemetry_pb2 as pb
from e2e.faults import dumps
from e2e.faults.bench import Bench
from e2e.faults.order import logical, recorded, send
from e2e.faults.rows import Case, Counts, row
from e2e.programs import Collector, until
from fakes.telemetry_server import TelemetryServer

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "v1.binpb"
_STREAM = "/chipwatt.v1.TelemetryService/Stream"
UNKNOWN_FIELD = b"\xfa\x3e\x08tomorrow" + b"\xf8\x3e\x2a"
"""Fields 1007, bytes, and 999, a number: nobody knows them today."""


def frozen() -> Any:
    """Return the messages of the release before, by full name."""
    files = descriptor_pb2.FileDescriptorSet.FromString(GOLDEN.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return message_factory.GetMessageClassesForFiles([f.name for f in files.file], pool)


def exchange(
    address: str, requests: Sequence[bytes], until_sequence: int
) -> tuple[list[Any], grpc.StatusCode]:
    """Send serialised requests; returns answers as the frozen release reads them, and the end."""
    response = frozen()["chipwatt.v1.StreamResponse"]
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    done = threading.Event()

    def outgoing() -> Iterator[bytes]:
        yield from requests
        done.wait(20)

    answers: list[Any] = []
    with grpc.insecure_channel(address, options) as channel:
        call = channel.stream_stream(_STREAM, lambda raw: raw, response.FromString)
        replies = call(outgoing(), timeout=20)
        try:
            for answer in replies:
                answers.append(answer)
                last = answer.ack.sequence or answer.refusal.sequence
                if last >= until_sequence:
                    break
        except grpc.RpcError as error:
            return answers, error.code()
        finally:
            done.set()
            replies.cancel()
    return answers, grpc.StatusCode.OK


def requests_of(
    records: Sequence[Spooled],
    host: bytes,
    make: Callable[[str, dict[str, Any]], bytes],
    schema: int = SCHEMA_VERSION,
) -> list[bytes]:
    """Return a hello and batches, each made by ``make(kind, fields)``."""
    hello = {"schema_version": schema, "host_id": host, "boot_id": records[0].boot_id}
    batches = [
        {
            "boot_id": record.boot_id,
            "spool_epoch": record.epoch,
            "sequence": record.sequence,
            "digest": digest(record.payload),
            "encoding": 1,
            "payload": record.payload,
        }
        for record in records
    ]
    return [make("hello", hello), *(make("batch", batch) for batch in batches)]


def before(kind: str, fields: dict[str, Any]) -> bytes:
    """Make a request as the release before does."""
    request = frozen()["chipwatt.v1.StreamRequest"]()
    known = getattr(request, kind).DESCRIPTOR.fields_by_name
    for name, value in fields.items():
        if name in known:
            setattr(getattr(request, kind), name, value)
    raw: bytes = request.SerializeToString()
    return raw


def tomorrow(kind: str, fields: dict[str, Any]) -> bytes:
    """Make a request with fields that only the next release knows, inside and around."""
    message = pb.Hello(**fields) if kind == "hello" else pb.Batch(**fields)
    inner = message.SerializeToString() + UNKNOWN_FIELD
    tag = bytes([(1 if kind == "hello" else 2) << 3 | 2])
    return tag + _varint(len(inner)) + inner + UNKNOWN_FIELD


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


@row(14, "agents of the release before and of the next one, this collector")
def agents(case: Case) -> Counts:
    with Bench(case) as bench:
        records = recorded(bench, case.pick(4, 30))
        host, last = bench.host.id, records[-1].sequence
        stores = []
        with Collector(bench.folder / "this") as collector:
            send(collector, host, records)
            stores.append(logical(collector))
        for name, make in (("before", before), ("tomorrow", tomorrow)):
            with Collector(bench.folder / name) as collector, collector.client() as client:
                requests = requests_of(records, host, make)
                answers, code = exchange(collector.address, requests, last)
                assert code is grpc.StatusCode.OK, code
                assert answers[0].welcome.schema_version == SCHEMA_VERSION
                assert client.status().batches_stored == len(records)
                stores.append(logical(collector))
                assert b"tomorrow" not in b"".join(
                    path.read_bytes() for path in (bench.folder / name).rglob("*.sqlite*")
                ), "an unknown field was kept"
        assert stores[0] == stores[1] == stores[2], "the store depends on who sent it"
        return Counts(2, len(records), len(records), len(records))


@row(14, "unknown encoding, unknown kind of message, another major: told, counted, not stored")
def unknown(case: Case) -> Counts:
    with Bench(case) as bench:
        records = recorded(bench, 3)
        host, last = bench.host.id, records[-1].sequence
        with Collector(bench.folder / "this") as collector, collector.client() as client:

            def encoded(kind: str, fields: dict[str, Any]) -> bytes:
                return tomorrow(kind, fields | ({"encoding": 9} if kind == "batch" else {}))

            answers, _ = exchange(collector.address, requests_of(records, host, encoded), last)
            refusals = [a.refusal.sequence for a in answers if a.WhichOneof("message") == "refusal"]
            assert refusals == [record.sequence for record in records]
            assert client.status().refused == len(records), "refusals are counted"
            hello = requests_of(records, host, tomorrow)[0]
            _, code = exchange(collector.address, [hello, UNKNOWN_FIELD], 1)
            assert code is grpc.StatusCode.INVALID_ARGUMENT, code
            major = requests_of(records, host, tomorrow, SCHEMA_VERSION + 1)
            _, code = exchange(collector.address, major, last)
            assert code is grpc.StatusCode.FAILED_PRECONDITION, code
            assert client.status().batches_stored == 0
            send(collector, host, records)
            assert client.status().batches_stored == len(records), "and then all is well"
        return Counts(3, len(records), len(records), len(records))


@contextmanager
def other_collector(port: int, welcome: pb.Welcome | None) -> Iterator[TelemetryServer]:
    """A collector of another release at a port: its welcome, or a refusal of this schema."""
    server = TelemetryServer()
    server.port = port
    if welcome is None:
        server.behaviour.abort_hello = grpc.StatusCode.FAILED_PRECONDITION
    else:
        server.behaviour.welcome = welcome
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@row(14, "this agent, a collector of another major, then of the next minor, then this one")
def collectors(case: Case) -> Counts:
    with Bench(case) as bench:
        host = bench.host
        port = int(bench.address.rpartition(":")[2])
        with other_collector(port, None) as refusing:
            host.start(bench.address)
            until(lambda: len(dumps.spooled(host.state / "spool")) >= 2, 30, "it keeps buffering")
            host.play()
            until(lambda: len(refusing.hellos) >= 2, 20, "it tries again")
            last_error = host.running.status()["uplink"]["last_error"]
            assert "refuses this agent" in last_error, last_error
            assert host.running.status()["uplink"]["acked"] == 0
        newer = pb.Welcome(schema_version=SCHEMA_VERSION, max_in_flight=8)
        newer.MergeFromString(UNKNOWN_FIELD)
        with other_collector(port, newer) as other:
            until(lambda: len(other.stored) >= 2, 30, "records at the next release")
            time.sleep(1)
            taken = set(other.stored)
        bench.start_collector()
        bench.more(3)
        host.rest()
        assert host.running.stop(60) == 0
        stored = {key[1:] for key in dumps.stored(bench.store)}
        first = min(key[2] for key in stored)
        assert first <= max(key[2] for key in taken) + 1, "records between the two are lost"
        assert {key[2] for key in stored | taken} == set(range(1, max(k[2] for k in stored) + 1))
        return Counts(2, len(stored | taken), len(stored | taken), len(stored))
