"""What OTLP's specification says to do with each answer to a request.

The tables of codes, the rule for RESOURCE_EXHAUSTED and Retry-After are those of "OTLP/gRPC
Response", "OTLP/gRPC Throttling", "OTLP/HTTP Response" and "OTLP/HTTP Throttling" in
opentelemetry-proto's specification.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Final

import grpc
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)

from chipwatt.core.retry_hint import retry_delay_s

RETRYABLE: Final = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
RETRYABLE_HTTP: Final = frozenset({429, 502, 503, 504})
_BAD_DATA_HTTP: Final = frozenset({400, 422})
_TOO_LARGE_HTTP: Final = 413
_TOO_LARGE = ("larger than max", "exceeds maximum size", "too large")  # grpc-core, -go; -java
MAX_DELAY_S: Final = 600.0
"""A receiver that asks for more is asked again after this long."""
MAX_TEXT: Final = 200


class Verdict(Enum):
    """What became of a request."""

    TAKEN = auto()
    RETRY = auto()
    """Not taken; the same request may be sent again."""
    TOO_LARGE = auto()
    """Not taken; two halves of it may be."""
    BAD_DATA = auto()
    """Not taken for what is in it, perhaps for a single point of it."""
    REFUSED = auto()
    """Not taken, whatever is in it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as OTLP reads it."""

    verdict: Verdict
    said: str = ""
    after_s: float = 0.0
    """With RETRY: the least wait."""
    rejected: int = 0
    """With TAKEN: points that were not."""
    is_timeout: bool = False


def taken(body: bytes) -> Answer:
    """Return what a response says; a partial success is final."""
    try:
        partial = ExportMetricsServiceResponse.FromString(body).partial_success
    except DecodeError:
        return Answer(Verdict.TAKEN, "its answer cannot be read")
    said = partial.error_message[:MAX_TEXT]
    return Answer(Verdict.TAKEN, said, rejected=max(0, partial.rejected_data_points))


def of_grpc(
    code: grpc.StatusCode, details: str, trailing: Iterable[tuple[str, str | bytes]]
) -> Answer:
    """Return what a failed call means."""
    said = f"{code.name}: {details[:MAX_TEXT]}"
    asked_s = retry_delay_s(trailing)
    exhausted = code is grpc.StatusCode.RESOURCE_EXHAUSTED
    if code in RETRYABLE or (exhausted and asked_s is not None):
        is_timeout = code is grpc.StatusCode.DEADLINE_EXCEEDED
        after_s = min(asked_s or 0.0, MAX_DELAY_S)
        return Answer(Verdict.RETRY, said, after_s, is_timeout=is_timeout)
    if exhausted and any(words in details.lower() for words in _TOO_LARGE):
        return Answer(Verdict.TOO_LARGE, said)
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return Answer(Verdict.BAD_DATA, said)
    return Answer(Verdict.REFUSED, said)


def of_http(status: int, retry_after: str, body: bytes, now_unix_s: float) -> Answer:
    """Return what an HTTP answer means; ``retry_after`` is its header, empty where it has none."""
    if 200 <= status < 300:
        return taken(body)
    printable = bytes(byte for byte in body[: 2 * MAX_TEXT] if 32 <= byte < 127)
    said = f"HTTP {status}: {printable.decode()[:MAX_TEXT]}"
    if status in RETRYABLE_HTTP:
        return Answer(Verdict.RETRY, said, _asked_s(retry_after, now_unix_s))
    if status == _TOO_LARGE_HTTP:
        return Answer(Verdict.TOO_LARGE, said)
    return Answer(Verdict.BAD_DATA if status in _BAD_DATA_HTTP else Verdict.REFUSED, said)


def _asked_s(retry_after: str, now_unix_s: float) -> float:
    """Read Retry-After, seconds or a date (RFC 9110, 10.2.3); nonsense asks for nothing."""
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:12]), MAX_DELAY_S)
    try:
        asked_s = parsedate_to_datetime(text).timestamp() - now_unix_s
    except (ValueError, OverflowError, IndexError, TypeError):
        return 0.0
    return min(max(asked_s, 0.0), MAX_DELAY_S)
