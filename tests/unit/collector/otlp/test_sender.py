"""Answers of a real receiver, and what is done about each."""

from __future__ import annotations

import asyncio
import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import trustme
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Gauge, Metric, NumberDataPoint

from chipwatt.collector.otlp.config import Destination
from chipwatt.collector.otlp.request import Request
from chipwatt.collector.otlp.sender import Sender, Sent
from chipwatt.core.errors import ConfigError
from chipwatt.core.settings import Duration
from fakes.otlp_sink import Answer, OtlpSink

Code = grpc.StatusCode
BACK_OFF_S = 0.25


def request(points: int = 3) -> Request:
    message = ExportMetricsServiceRequest()
    metrics = message.resource_metrics.add().scope_metrics.add().metrics
    metrics.append(Metric(name="x", gauge=Gauge(data_points=[NumberDataPoint()] * points)))
    return Request(message.SerializeToString(), points)


def send(config: Destination, *requests: Request) -> tuple[Sent, list[float]]:
    """Send; return the counters and the pauses that were made."""
    pauses: list[float] = []

    async def wait(pause_s: float) -> None:
        pauses.append(pause_s)

    async def main() -> Sent:
        sender = Sender(config, delays=lambda: itertools.repeat(BACK_OFF_S), wait=wait)
        for one in requests:
            await sender.send(one)
        await sender.close()
        return sender.sent

    return asyncio.run(main()), pauses


@pytest.mark.parametrize(
    "code", [Code.CANCELLED, Code.ABORTED, Code.OUT_OF_RANGE, Code.UNAVAILABLE, Code.DATA_LOSS]
)
def test_retryable_failures_are_retried_until_it_works(code: grpc.StatusCode) -> None:
    with OtlpSink("127.0.0.1:0", Answer(code), Answer(code)) as sink:
        sent, pauses = send(Destination(endpoint=sink.endpoint), request())
    assert sent == Sent(points=3, rejected=0, retries=2)
    assert pauses == [BACK_OFF_S, BACK_OFF_S]
    assert len(sink.offered) == 3
    assert sink.taken == [request().message]


@pytest.mark.parametrize(
    "code",
    [
        *(Code.UNKNOWN, Code.NOT_FOUND, Code.PERMISSION_DENIED),
        *(Code.UNAUTHENTICATED, Code.FAILED_PRECONDITION, Code.UNIMPLEMENTED, Code.INTERNAL),
        Code.RESOURCE_EXHAUSTED,
    ],
)
def test_final_failures_are_dropped_counted_and_not_retried(code: grpc.StatusCode) -> None:
    with OtlpSink("127.0.0.1:0", Answer(code)) as sink:
        sent, pauses = send(Destination(endpoint=sink.endpoint), request(3), request(4))
    assert sent == Sent(points=4, rejected=3, retries=0)
    assert pauses == []
    assert len(sink.offered) == 2


@pytest.mark.parametrize("code", [Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE])
def test_retry_info_is_waited_for(code: grpc.StatusCode) -> None:
    with OtlpSink("127.0.0.1:0", Answer(code, retry_after_s=7.5)) as sink:
        sent, pauses = send(Destination(endpoint=sink.endpoint), request())
    assert sent == Sent(points=3, rejected=0, retries=1)
    assert pauses == [7.5 + BACK_OFF_S]


def test_partial_success_is_counted_and_never_retried() -> None:
    with OtlpSink("127.0.0.1:0", Answer(rejected=2, said="too old"), Answer(said="hm")) as sink:
        sent, _ = send(Destination(endpoint=sink.endpoint), request(3), request(3))
    assert sent == Sent(points=4, rejected=2, retries=0)
    assert len(sink.offered) == 2


class Babbler(grpc.GenericRpcHandler):
    """Takes whatever it is sent and answers OK, with bytes that are no response."""

    def service(self, _: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        return grpc.unary_unary_rpc_method_handler(lambda _, __: b"\xff" * 9)


def test_an_ok_that_cannot_be_read_is_an_ok() -> None:
    server = grpc.server(ThreadPoolExecutor(1), handlers=[Babbler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        sent, pauses = send(Destination(endpoint=f"http://127.0.0.1:{port}"), request(), request(2))
    finally:
        server.stop(None).wait()
    assert (sent, pauses) == (Sent(points=5), [])


def test_what_the_receiver_cannot_hold_is_halved_until_it_can() -> None:
    """A real server's limit of 4 MiB, told in words only."""
    message = ExportMetricsServiceRequest()
    metrics = message.resource_metrics.add().scope_metrics.add().metrics
    noise = [NumberDataPoint(time_unix_nano=n + 1, as_double=n / 7) for n in range(300_000)]
    metrics.append(Metric(name="x", gauge=Gauge(data_points=noise)))
    with OtlpSink() as sink:
        config = Destination(endpoint=sink.endpoint, compression="none")
        sent, pauses = send(config, Request(message.SerializeToString(), 300_000))
    assert (sent, pauses) == (Sent(points=300_000), [])
    assert len(sink.taken) == 2
    arrived = [
        point.time_unix_nano
        for one in sink.taken
        for point in one.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points
    ]
    assert arrived == list(range(1, 300_001))


def test_a_refusal_of_the_data_is_narrowed_down() -> None:
    bad = Answer(Code.INVALID_ARGUMENT)
    with OtlpSink("127.0.0.1:0", bad, Answer(), bad, bad) as sink:
        sent, pauses = send(Destination(endpoint=sink.endpoint), request(5))
    assert (sent, pauses) == (Sent(points=4, rejected=1), [])


def test_half_open_a_line_that_died_is_dialled_anew() -> None:
    """The peer holds the connection and answers nothing; who dials again reaches another."""
    with OtlpSink("127.0.0.1:0", Answer(hold_s=0.6), Answer(hold_s=0.6)) as sink:
        config = Destination(endpoint=sink.endpoint, timeout=Duration(100_000_000))
        sent, _ = send(config, request())
    assert sent.points == 3
    assert len(sink.peers) == sent.retries + 1


def test_a_silent_receiver_is_given_up_and_asked_again() -> None:
    with OtlpSink("127.0.0.1:0", Answer(hold_s=1.0)) as sink:
        config = Destination(endpoint=sink.endpoint, timeout=Duration(200_000_000))
        sent, _ = send(config, request())
    assert sent == Sent(points=3, rejected=0, retries=1)


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_headers_are_sent_whatever_the_compression(compression: str) -> None:
    with OtlpSink() as sink:
        config = Destination(
            endpoint=sink.endpoint, headers=("X-Api-Key=s3cret",), compression=compression
        )
        send(config, request(500))
    assert sink.metadata[0]["x-api-key"] == "s3cret"
    assert sink.taken == [request(500).message]


def test_tls_against_an_authority_of_our_own(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    cert = authority.issue_cert("localhost")
    credentials = grpc.ssl_server_credentials(
        [(cert.private_key_pem.bytes(), cert.cert_chain_pems[0].bytes())]
    )
    with OtlpSink("localhost:0", credentials=credentials) as sink:
        config = Destination(endpoint=sink.endpoint, tls_ca=tmp_path / "ca.pem")
        sent, _ = send(config, request())
    assert sent == Sent(points=3, rejected=0, retries=0)
    assert sink.taken == [request().message]


def test_an_authority_that_cannot_be_read_is_told_at_once(tmp_path: Path) -> None:
    config = Destination(endpoint="https://localhost:4317", tls_ca=tmp_path / "none.pem")

    async def main() -> None:
        with pytest.raises(ConfigError, match=r"none\.pem: cannot be read"):
            Sender(config)

    asyncio.run(main())
