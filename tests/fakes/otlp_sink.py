"""An OTLP/gRPC metrics receiver: a real grpc server that remembers and misbehaves on demand."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

MAX_REQUEST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """How to answer one request."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    retry_after_s: float | None = None
    """With an error: adds a RetryInfo with this delay."""
    rejected: int = 0
    said: str = ""
    hold_s: float = 0.0
    """How long to think before answering."""
    is_kept: bool = False
    """With an error: the data was taken all the same, only the answer is lost."""


class OtlpSink(metrics_service_pb2_grpc.MetricsServiceServicer):
    """Keeps what it took, in order; ``answers`` are used up one a request, then all is well."""

    def __init__(
        self,
        address: str = "127.0.0.1:0",
        *answers: Answer,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self.answers = deque(answers)
        self.taken: list[ExportMetricsServiceRequest] = []
        self.offered: list[ExportMetricsServiceRequest] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.peers: set[str] = set()
        self._changed = threading.Condition()
        self._server = grpc.server(
            ThreadPoolExecutor(4),
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
            ],
        )
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(  # type: ignore[no-untyped-call]
            self, self._server
        )
        if credentials is None:
            self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port(address)}"
        else:
            port = self._server.add_secure_port(address, credentials)
            self.endpoint = f"https://localhost:{port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop(0).wait()

    def Export(  # noqa: N802
        self, request: ExportMetricsServiceRequest, context: grpc.ServicerContext
    ) -> ExportMetricsServiceResponse:
        with self._changed:
            answer = self.answers.popleft() if self.answers else Answer()
            is_ok = answer.code is grpc.StatusCode.OK
            self.offered.append(request)
            self.metadata.append(dict(context.invocation_metadata()))
            self.peers.add(context.peer())
            if is_ok or answer.is_kept:
                self.taken.append(request)
            self._changed.notify_all()
        time.sleep(answer.hold_s)
        if not is_ok:
            if answer.retry_after_s is not None:
                details = status_details(answer.retry_after_s)
                context.set_trailing_metadata((("grpc-status-details-bin", details),))
            context.abort(answer.code, answer.said or "told to")
        return ExportMetricsServiceResponse(
            partial_success=ExportMetricsPartialSuccess(
                rejected_data_points=answer.rejected, error_message=answer.said
            )
            if answer.rejected or answer.said
            else None
        )

    def wait_for(self, taken: int, timeout_s: float = 20.0) -> None:
        """Return once ``taken`` requests were taken; raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.taken) >= taken, timeout_s):
                raise TimeoutError(f"{len(self.taken)} requests taken, {taken} expected")


def status_details(retry_after_s: float) -> bytes:
    """Return a google.rpc.Status that carries a RetryInfo, as servers attach it."""
    delay = Duration()
    delay.FromNanoseconds(round(retry_after_s * 1e9))
    retry_info = _field(1, delay.SerializeToString())
    detail = AnyMessage(type_url="type.googleapis.com/google.rpc.RetryInfo", value=retry_info)
    return b"\x08\x08" + _field(2, b"slow down") + _field(3, detail.SerializeToString())


def _field(number: int, data: bytes) -> bytes:
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data
