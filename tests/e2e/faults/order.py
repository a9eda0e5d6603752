"""Row 12: records that come in any order, three times, over several streams, a week late."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc

from chipwatt.agent.spool.contract import Spooled
from chipwatt.core.wire import SCHEMA_VERSION, digest
from chipwatt.v1 import telemetry_pb2 as pb
from chipwatt.v1 import telemetry_pb2_grpc
from e2e.faults import dumps
from e2e.faults.bench import Bench
from e2e.faults.rows import Case, Counts, row
from e2e.programs import Collector, until

_STREAM_S = 120


@contextmanager
def sending(address: str, host: bytes, records: Sequence[Spooled]) -> Iterator[None]:
    """Send records in this order over one stream, which stays open for the block."""
    ended = threading.Event()

    def requests() -> Iterator[pb.StreamRequest]:
        hello = pb.Hello(schema_version=SCHEMA_VERSION, host_id=host, boot_id=records[0].boot_id)
        yield pb.StreamRequest(hello=hello)
        for record in records:
            yield pb.StreamRequest(batch=batch_of(record))
        ended.wait(_STREAM_S)

    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(address, options) as channel:
        stub = telemetry_pb2_grpc.TelemetryServiceStub(channel)
        replies = stub.Stream(requests(), timeout=_STREAM_S)

        def listen() -> None:
            with suppress(grpc.RpcError):
                for _ in replies:
                    pass

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            yield
        finally:
            ended.set()
            replies.cancel()
            listener.join(10)


def batch_of(record: Spooled) -> pb.Batch:
    return pb.Batch(
        boot_id=record.boot_id,
        spool_epoch=record.epoch,
        sequence=record.sequence,
        digest=digest(record.payload),
        encoding=pb.ENCODING_PLAIN,
        payload=record.payload,
    )


def send(collector: Collector, host: bytes, records: Sequence[Spooled]) -> None:
    """Send records, and return once each is stored or absorbed."""
    with collector.client() as client:

        def settled() -> int:
            status = client.status()
            return status.batches_stored + status.duplicates_absorbed

        wanted = settled() + len(records)
        with sending(collector.address, host, records):
            until(lambda: settled() >= wanted, 60, "every record stored or absorbed")


def recorded(bench: Bench, seconds: int) -> list[Spooled]:
    """Let an agent without a collector fill its spool; return what is in it."""
    host = bench.host
    host.settings = {**host.settings, "drain_grace": "100ms"}
    host.start(bench.address)
    spool = host.state / "spool"
    until(lambda: len(dumps.spooled(spool)) >= 2, 30, "records in the spool")
    host.play()
    time.sleep(seconds)
    host.rest()
    host.running.stop(60)
    host.look()
    return dumps.spooled(spool)


def logical(collector: Collector) -> bytes:
    """Return everything that can be asked of a store, in one form."""
    with collector.client() as client:
        lines = []
        for host in list(client.hosts()):
            lines += [repr(window) for window in client.windows(host.host_id)]
            lines += [repr(second) for second in client.host_seconds(host.host_id)]
            lines += [repr(gap) for gap in client.gaps(host.host_id)]
    return "\n".join(sorted(lines)).encode()


def fill(folder: Path, host: bytes, streams: Sequence[Sequence[Spooled]]) -> tuple[bytes, int, int]:
    """Send each of ``streams`` to a fresh collector; returns its store, duplicates, batches."""
    with Collector(folder) as collector, collector.client() as client:
        for records in streams:
            send(collector, host, records)
        status = client.status()
        return logical(collector), status.duplicates_absorbed, status.batches_stored


@row(12, "reordered, each three times, split over streams, all of it again")
def any_order(case: Case) -> Counts:
    runs = case.pick(2, 20)
    with Bench(case) as bench:
        records = recorded(bench, case.pick(6, 60))
        host = bench.host.id
        expected, _, stored = fill(bench.folder / "in-order", host, [records])
        absorbed = 0
        for run in range(runs):
            mixed = records * 3
            case.chance.shuffle(mixed)
            cut = case.chance.randrange(1, len(mixed))
            streams = [mixed[:cut], mixed[cut:], records]
            folder = bench.folder / f"mixed-{run}"
            found, duplicates, again = fill(folder, host, streams)
            assert again == stored, f"{again} batches stored, {stored} in order"
            assert found == expected, "the store differs from one that was filled in order"
            absorbed += duplicates
        return Counts(runs, len(records), len(records), stored, absorbed)
