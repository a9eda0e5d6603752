"""When to come again, said with a gRPC status: google.rpc.RetryInfo in its details.

``grpc-status-details-bin`` carries a google.rpc.Status, one of whose details may
be a RetryInfo. The two have three fields that matter here, which need no
dependency on their generated code. Field numbers: googleapis, ``google/rpc/status.proto`` and
``google/rpc/error_details.proto``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

DETAILS_KEY = "grpc-status-details-bin"
RESOURCE_EXHAUSTED = 8
"""gRPC's number of the one status that may be tried again only with such a hint."""
_RETRY_INFO = "google.rpc.RetryInfo"
_STATUS_DETAILS = 3  # google.rpc.Status: int32 code = 1; repeated Any details = 3
_RETRY_DELAY = 1  # google.rpc.RetryInfo: Duration retry_delay = 1
_LENGTH_DELIMITED = 2
_NS = 1_000_000_000


def exhausted_metadata(delay_s: float) -> tuple[tuple[str, bytes]]:
    """Return the trailing metadata of a RESOURCE_EXHAUSTED that is over in ``delay_s``."""
    seconds, nanos = divmod(round(delay_s * _NS), _NS)
    delay = Duration(seconds=seconds, nanos=nanos).SerializeToString()
    info = AnyMessage(
        type_url=f"type.googleapis.com/{_RETRY_INFO}", value=_field(_RETRY_DELAY, delay)
    ).SerializeToString()
    return ((DETAILS_KEY, bytes((8, RESOURCE_EXHAUSTED)) + _field(_STATUS_DETAILS, info)),)


def retry_delay_s(trailing: Iterable[tuple[str, str | bytes]]) -> float | None:
    """Return the delay of a RetryInfo in the trailing metadata; None where there is none."""
    for key, value in trailing:
        if key != DETAILS_KEY or not isinstance(value, bytes):
            continue
        try:
            for raw in _fields(value, _STATUS_DETAILS):
                detail = AnyMessage.FromString(raw)
                if detail.type_url.rpartition("/")[2] == _RETRY_INFO:
                    delays = [
                        Duration.FromString(delay) for delay in _fields(detail.value, _RETRY_DELAY)
                    ]
                    return max(0.0, delays[-1].seconds + delays[-1].nanos / _NS) if delays else 0.0
        except DecodeError:
            continue
    return None


def _field(number: int, message: bytes) -> bytes:
    """Write one message field; what is written here is shorter than 128 bytes."""
    return bytes((number << 3 | _LENGTH_DELIMITED, len(message))) + message


def _fields(data: bytes, number: int) -> Iterator[bytes]:
    """Yield the messages in field ``number``."""
    found = UnknownFieldSet(Empty.FromString(data))
    for index in range(len(found)):
        field = found[index]
        if field.field_number == number and field.wire_type == _LENGTH_DELIMITED:
            yield field.data
