"""An agent's side of the stream, by hand: hello, batches, and what was answered."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import grpc

from chipwatt.core.codec import encode_records
from chipwatt.core.records import Records
from chipwatt.core.wire import SCHEMA_VERSION, digest
from chipwatt.v1 import telemetry_pb2 as pb
from chipwatt.v1 import telemetry_pb2_grpc

EPOCH = 4_711


@dataclass(slots=True)
class Answers:
    """What the collector said."""

    acked: int = 0
    refused: list[tuple[int, int]] = field(default_factory=list)
    """(sequence, reason)."""


def send(
    address: str, host: bytes, records: Iterable[Records], *, first_sequence: int = 1
) -> Answers:
    """Send ``records``, each as a batch, and return once every batch is acked or refused."""
    payloads = [encode_records(one) for one in records]
    return send_payloads(address, host, payloads, first_sequence=first_sequence)


def send_payloads(
    address: str, host: bytes, payloads: list[bytes], *, first_sequence: int = 1
) -> Answers:
    """Send payloads as they are; see ``send``."""
    outgoing: queue.Queue[pb.StreamRequest | None] = queue.Queue()

    def requests() -> Iterator[pb.StreamRequest]:
        while (request := outgoing.get()) is not None:
            yield request

    hello = pb.Hello(schema_version=SCHEMA_VERSION, host_id=host, boot_id=bytes(16))
    outgoing.put(pb.StreamRequest(hello=hello))
    for sequence, payload in enumerate(payloads, first_sequence):
        batch = pb.Batch(
            boot_id=bytes(16),
            spool_epoch=EPOCH,
            sequence=sequence,
            digest=digest(payload),
            encoding=pb.ENCODING_PLAIN,
            payload=payload,
        )
        outgoing.put(pb.StreamRequest(batch=batch))
    answers = Answers()
    last = first_sequence + len(payloads) - 1
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(address, options) as channel:
        replies = telemetry_pb2_grpc.TelemetryServiceStub(channel).Stream(requests(), timeout=30)
        for reply in replies:
            if reply.HasField("ack"):
                answers.acked = reply.ack.sequence
            elif reply.HasField("refusal"):
                answers.refused.append((reply.refusal.sequence, int(reply.refusal.reason)))
            done = max([answers.acked, *(sequence for sequence, _ in answers.refused)])
            if done >= last:
                break
        outgoing.put(None)
        replies.cancel()
    return answers
