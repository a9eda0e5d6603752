"""OTLP/HTTP against a real server: answers, hints, sizes, refusals, and lines that go dead."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
from pathlib import Path

import pytest
import trustme
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Gauge, Metric, NumberDataPoint

from chipwatt.collector.otlp.config import GRPC, HTTP, Destination
from chipwatt.collector.otlp.request import Request, points_of
from chipwatt.collector.otlp.sender import MAX_REFUSALS, Sender, Sent
from chipwatt.core.errors import ConfigError
from chipwatt.core.settings import Duration
from fakes.otlp_http_sink import HttpAnswer, HttpSink

BACK_OFF_S = 0.25


def request(points: int = 3, first: int = 0) -> Request:
    message = ExportMetricsServiceRequest()
    for metric in range(2):
        metrics = message.resource_metrics.add().scope_metrics.add().metrics
        part = range(first + metric, first + points, 2)
        data = [NumberDataPoint(time_unix_nano=n + 1) for n in part]
        metrics.append(Metric(name=f"x{metric}", gauge=Gauge(data_points=data)))
    return Request(message.SerializeToString(), points)


def times(requests: list[ExportMetricsServiceRequest]) -> list[int]:
    return [
        point.time_unix_nano  # type: ignore[attr-defined]
        for one in requests
        for of in one.resource_metrics
        for scope in of.scope_metrics
        for metric in scope.metrics
        for point in points_of(metric)
    ]


def send(destination: Destination, *requests: Request) -> tuple[Sent, list[float]]:
    pauses: list[float] = []

    async def wait(pause_s: float) -> None:
        pauses.append(pause_s)

    async def main() -> Sent:
        sender = Sender(destination, delays=lambda: itertools.repeat(BACK_OFF_S), wait=wait)
        for one in requests:
            await sender.send(one)
        await sender.close()
        return sender.sent

    return asyncio.run(main()), pauses


def to(endpoint: str, **changes: object) -> Destination:
    return Destination(endpoint=endpoint, protocol=HTTP, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_a_request_arrives_whole_over_one_kept_connection(compression: str) -> None:
    with HttpSink() as sink:
        destination = to(sink.endpoint, compression=compression, headers=("X-Api-Key=s3cret",))
        sent, _ = send(destination, request(500), request(7), request(1))
    assert sent == Sent(points=508)
    assert sink.taken == [request(500).message, request(7).message, request(1).message]
    assert sink.connections == 1
    assert sink.headers[0]["x-api-key"] == "s3cret"
    assert sink.headers[0]["content-type"] == "application/x-protobuf"
    assert sink.paths == ["/v1/metrics"] * 3


def test_a_path_of_its_own_is_used_as_it_is() -> None:
    with HttpSink() as sink:
        send(to(f"{sink.endpoint}/opentelemetry/v1/metrics?tenant=7"), request())
    assert sink.paths == ["/opentelemetry/v1/metrics?tenant=7"]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_retryable_answers_with_and_without_a_hint(status: int) -> None:
    answers = [HttpAnswer(status), HttpAnswer(status, {"Retry-After": "7"}, b"slow down")]
    with HttpSink(*answers) as sink:
        sent, pauses = send(to(sink.endpoint), request())
    assert sent == Sent(points=3, retries=2)
    assert pauses == [BACK_OFF_S, 7 + BACK_OFF_S]


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 500, 501])
def test_final_answers_are_counted_and_not_retried(status: int) -> None:
    with HttpSink(HttpAnswer(status)) as sink:
        sent, pauses = send(to(sink.endpoint), request(3), request(4))
    assert (sent, pauses) == (Sent(points=4, rejected=3), [])
    assert len(sink.offered) == 2


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_partial_success_is_final(is_chunked: bool) -> None:
    partial = ExportMetricsPartialSuccess(rejected_data_points=2, error_message="too old")
    body = ExportMetricsServiceResponse(partial_success=partial).SerializeToString()
    with HttpSink(HttpAnswer(body=body, is_chunked=is_chunked)) as sink:
        sent, _ = send(to(sink.endpoint), request(3), request(2))
    assert sent == Sent(points=3, rejected=2)
    assert len(sink.offered) == 2


def test_what_is_too_large_is_halved_and_the_size_remembered() -> None:
    most = len(request(16).data)

    def refuses(data: bytes, _: ExportMetricsServiceRequest) -> int:
        return 413 if len(data) > most else 200

    with HttpSink(refuses=refuses) as sink:
        sent, pauses = send(to(sink.endpoint, compression="none"), request(100), request(100, 100))
        refused = len(sink.offered) - len(sink.taken)
    assert (sent, pauses) == (Sent(points=200), [])
    assert sorted(times(sink.taken)) == list(range(1, 201))
    assert refused <= 4, "each size is tried once only"


def test_a_single_point_that_is_too_large_is_dropped() -> None:
    with HttpSink(refuses=lambda _data, _request: 413) as sink:
        sent, _ = send(to(sink.endpoint), request(1))
    assert sent == Sent(rejected=1)


def test_only_the_points_that_are_refused_are_lost() -> None:
    bad = {17, 60}

    def refuses(_: bytes, one: ExportMetricsServiceRequest) -> int:
        return 400 if bad & set(times([one])) else 200

    with HttpSink(refuses=refuses) as sink:
        sent, _ = send(to(sink.endpoint), request(64))
    assert sent == Sent(points=62, rejected=2)
    assert sorted(times(sink.taken)) == [n for n in range(1, 65) if n not in bad]


def test_stretches_that_are_refused_take_few_others_with_them() -> None:
    """As where two hosts of a request bring what is too old for the receiver."""
    bad = {*range(1000, 1150), *range(6000, 6150)}

    def refuses(_: bytes, one: ExportMetricsServiceRequest) -> int:
        return 400 if bad & set(times([one])) else 200

    with HttpSink(refuses=refuses) as sink:
        sent, _ = send(to(sink.endpoint), request(8000))
    assert len(bad) <= sent.rejected <= 1.5 * len(bad)
    assert sent.points == 8000 - sent.rejected
    assert not bad & set(times(sink.taken))
    assert len(sink.offered) <= 2 * MAX_REFUSALS + 1


def test_who_refuses_every_point_is_not_asked_for_each() -> None:
    with HttpSink(refuses=lambda _data, _request: 400) as sink:
        sent, _ = send(to(sink.endpoint), request(1000))
    assert sent == Sent(rejected=1000)
    assert len(sink.offered) <= 2 * MAX_REFUSALS + 1


def test_a_line_that_is_cut_is_dialled_again() -> None:
    with HttpSink(HttpAnswer(), HttpAnswer(hang_up=True)) as sink:
        sent, pauses = send(to(sink.endpoint), request(), request(4))
    assert sent == Sent(points=7), "the kept connection was gone: that is no failure"
    assert pauses == []
    with HttpSink(HttpAnswer(hang_up=True)) as sink:
        sent, pauses = send(to(sink.endpoint), request())
    assert (sent, pauses) == (Sent(points=3, retries=1), [BACK_OFF_S])


def test_a_slow_receiver_is_given_more_time() -> None:
    slow = [HttpAnswer(hold_s=0.3)] * 3
    with HttpSink(*slow) as sink:
        sent, _ = send(to(sink.endpoint, timeout=Duration(100_000_000)), request())
    assert sent.points == 3
    assert 1 <= sent.retries <= 2


def test_half_open_a_peer_that_takes_and_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        destination = to(f"http://127.0.0.1:{silent.getsockname()[1]}",
                         timeout=Duration(50_000_000))  # fmt: skip

        async def main() -> Sent:
            enough = asyncio.Event()

            async def wait(_: float) -> None:
                if sender.sent.retries == 3:
                    enough.set()
                    await asyncio.Event().wait()

            sender = Sender(destination, wait=wait)
            sending = asyncio.create_task(sender.send(request()))
            await enough.wait()
            sending.cancel()
            await sender.close()
            return sender.sent

        assert asyncio.run(main()) == Sent(retries=3)


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\r\n\r\n"])
def test_what_is_no_http_is_tried_again(answer: bytes) -> None:
    async def main() -> Sent:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        gone = asyncio.Event()

        async def wait(_: float) -> None:
            gone.set()
            await asyncio.Event().wait()

        sender = Sender(to(f"http://127.0.0.1:{port}"), wait=wait)
        sending = asyncio.create_task(sender.send(request()))
        await gone.wait()
        sending.cancel()
        await sender.close()
        server.close()
        await server.wait_closed()
        return sender.sent

    assert asyncio.run(main()) == Sent(retries=1)


def test_tls_on_both_sides(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    own = authority.issue_cert("collector")
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    own.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    with HttpSink(tls=context) as sink:
        sent, _ = send(
            to(
                sink.endpoint,
                tls_ca=tmp_path / "ca.pem",
                tls_cert=tmp_path / "cert.pem",
                tls_key=tmp_path / "key.pem",
            ),
            request(),
        )
    assert sent == Sent(points=3)


@pytest.mark.parametrize("protocol", [GRPC, HTTP])
def test_files_of_tls_that_cannot_be_used_are_told_at_once(tmp_path: Path, protocol: str) -> None:
    def sender(**files: Path) -> None:
        Sender(Destination(endpoint="https://localhost:1", protocol=protocol, **files))  # type: ignore[arg-type]

    authority, none = trustme.CA(), tmp_path / "none.pem"
    cert, key, other, text = (tmp_path / name for name in ("cert", "key", "other", "text"))
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    authority.issue_cert("localhost").private_key_pem.write_to_path(other)
    text.write_text("text")
    sender(tls_cert=cert, tls_key=key)
    for files, complaint in (
        ({"tls_ca": none}, r"otlp\.tls_ca .*none\.pem: cannot be read: No such"),
        ({"tls_ca": text}, r"otlp\.tls_ca .*text: no PEM file of certificates"),
        ({"tls_cert": cert, "tls_key": none}, r"otlp\.tls_key .*none\.pem: cannot be read"),
        ({"tls_cert": cert, "tls_key": other}, r"tls_cert .*cert: .* the key in .*other fits"),
        ({"tls_cert": text, "tls_key": key}, r"tls_cert .*text: no PEM file of a certificate"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            sender(**files)
