"""What OTLP's specification says to do when a request fails.

The table of codes and the rule for RESOURCE_EXHAUSTED are those of "OTLP/gRPC
Response" and "OTLP/gRPC Throttling" in opentelemetry-proto's specification.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration as DurationMessage
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

RETRYABLE = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
NEVER = -1.0
MAX_DELAY_S = 600.0
"""A receiver that asks for more is asked again after this long."""
_DETAILS_KEY = "grpc-status-details-bin"
_RETRY_INFO = "google.rpc.RetryInfo"
_STATUS_DETAILS = 3  # google.rpc.Status: repeated Any details = 3
_RETRY_DELAY = 1  # google.rpc.RetryInfo: Duration retry_delay = 1
_LENGTH_DELIMITED = 2


def retry_after_s(code: grpc.StatusCode, trailing: Iterable[tuple[str, str | bytes]]) -> float:
    """Return the least wait in seconds before the request may be sent again, or NEVER."""
    asked_s = _retry_info_s(trailing)
    if code in RETRYABLE or (code is grpc.StatusCode.RESOURCE_EXHAUSTED and asked_s is not None):
        return min(asked_s or 0.0, MAX_DELAY_S)
    return NEVER


def _retry_info_s(trailing: Iterable[tuple[str, str | bytes]]) -> float | None:
    """Return the delay of a RetryInfo in the trailing metadata; None where there is none."""
    for key, value in trailing:
        if key != _DETAILS_KEY or not isinstance(value, bytes):
            continue
        try:
            for raw in _fields(value, _STATUS_DETAILS):
                detail = AnyMessage.FromString(raw)
                if detail.type_url.rpartition("/")[2] == _RETRY_INFO:
                    delays = [
                        DurationMessage.FromString(delay)
                        for delay in _fields(detail.value, _RETRY_DELAY)
                    ]
                    return max(0.0, delays[-1].seconds + delays[-1].nanos / 1e9) if delays else 0.0
        except DecodeError:
            continue
    return None


def _fields(data: bytes, number: int) -> Iterator[bytes]:
    """Yield the messages in field ``number``: two fields need no schema and no dependency."""
    found = UnknownFieldSet(Empty.FromString(data))
    for index in range(len(found)):
        field = found[index]
        if field.field_number == number and field.wire_type == _LENGTH_DELIMITED:
            yield field.data
