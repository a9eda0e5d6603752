"""What OTLP's specification says to do when a request fails.

The table of codes and the rule for RESOURCE_EXHAUSTED are those of "OTLP/gRPC
Response" and "OTLP/gRPC Throttling" in opentelemetry-proto's specification.md.
"""

from __future__ import annotations

from collections.abc import Iterable

import grpc

from chipwatt.core.retry_hint import retry_delay_s

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


def retry_after_s(code: grpc.StatusCode, trailing: Iterable[tuple[str, str | bytes]]) -> float:
    """Return the least wait in seconds before the request may be sent again, or NEVER."""
    asked_s = retry_delay_s(trailing)
    if code in RETRYABLE or (code is grpc.StatusCode.RESOURCE_EXHAUSTED and asked_s is not None):
        return min(asked_s or 0.0, MAX_DELAY_S)
    return NEVER
