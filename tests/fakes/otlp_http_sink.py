"""An OTLP/HTTP metrics receiver: the standard library's server, misbehaving on demand."""

from __future__ import annotations

import gzip
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """How to answer one request."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    hold_s: float = 0.0
    hang_up: bool = False
    """Close the connection and answer nothing."""
    is_chunked: bool = False


class HttpSink:
    """Keeps what it took, in order; ``answers`` are used up one a request, then all is well.

    ``refuses`` judges a request that no answer was planned for: a status other than 200 refuses.
    """

    def __init__(
        self,
        *answers: HttpAnswer,
        refuses: Callable[[bytes, ExportMetricsServiceRequest], int] = lambda _data, _request: 200,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.answers = deque(answers)
        self.refuses = refuses
        self.taken: list[ExportMetricsServiceRequest] = []
        self.offered: list[ExportMetricsServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.connections = 0
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                sink.connections += 1

            def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

            def do_POST(self) -> None:
                sink._answer(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        scheme, name = ("http", "127.0.0.1") if tls is None else ("https", "localhost")
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.endpoint = f"{scheme}://{name}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        data = handler.rfile.read(int(handler.headers["Content-Length"]))
        is_packed = handler.headers["Content-Encoding"] == "gzip"
        request = ExportMetricsServiceRequest.FromString(
            gzip.decompress(data) if is_packed else data
        )
        self.offered.append(request)
        self.headers.append({name.lower(): value for name, value in handler.headers.items()})
        self.paths.append(handler.path)
        planned = self.answers.popleft() if self.answers else None
        answer = planned or HttpAnswer(self.refuses(data, request))
        time.sleep(answer.hold_s)
        if answer.hang_up:
            handler.close_connection = True
            return
        if answer.status == 200:
            self.taken.append(request)
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        if answer.is_chunked:
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            handler.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(answer.body), answer.body))
            return
        handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        handler.wfile.write(answer.body)
