"""Every code of OTLP's table, and RetryInfo as servers send it."""

from __future__ import annotations

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.otlp.retry import MAX_DELAY_S, NEVER, retry_after_s
from fakes.otlp_sink import status_details

KEY = "grpc-status-details-bin"
ERRORS = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
RETRYABLE = {
    *("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED"),
    *("OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"),
}
RECORDED = bytes.fromhex(
    "0808121a746f6f206d616e7920706f696e74732c20736c6f7720646f776e1a410a2b747970652e676f6f676c6561"
    "7069732e636f6d2f676f6f676c652e7270632e51756f74614661696c75726512120a100a0674656e616e74120670"
    "6f696e74731a350a28747970652e676f6f676c65617069732e636f6d2f676f6f676c652e7270632e526574727949"
    "6e666f12090a07080c1080e59a77"
)
"""Written by googleapis-common-protos: a QuotaFailure, then a RetryInfo of 12.25 s."""
WITHOUT_DELAY = bytes.fromhex(
    "08081a2a0a28747970652e676f6f676c65617069732e636f6d2f676f6f676c652e7270632e5265747279496e666f"
)
"""The same library's RetryInfo in which no delay is set."""


@pytest.mark.parametrize("code", ERRORS)
def test_the_table_of_codes(code: grpc.StatusCode) -> None:
    assert (retry_after_s(code, ()) != NEVER) == (code.name in RETRYABLE)


@pytest.mark.parametrize("code", ERRORS)
def test_retry_info_revives_resource_exhausted_alone(code: grpc.StatusCode) -> None:
    after_s = retry_after_s(code, [("x", "y"), (KEY, RECORDED)])
    is_retried = code.name in RETRYABLE | {"RESOURCE_EXHAUSTED"}
    assert after_s == (12.25 if is_retried else NEVER)


def test_retry_info_without_a_delay_still_says_that_recovery_is_possible() -> None:
    assert retry_after_s(grpc.StatusCode.RESOURCE_EXHAUSTED, [(KEY, WITHOUT_DELAY)]) == 0.0


def test_nobody_makes_us_wait_for_a_year() -> None:
    trailing = [(KEY, status_details(3e7))]
    assert retry_after_s(grpc.StatusCode.UNAVAILABLE, trailing) == MAX_DELAY_S


@given(st.binary(max_size=200) | st.integers(0, len(RECORDED)).map(lambda n: RECORDED[:n]))
def test_damaged_details_are_no_details(details: bytes) -> None:
    after_s = retry_after_s(grpc.StatusCode.UNAVAILABLE, [(KEY, details)])
    assert 0.0 <= after_s <= MAX_DELAY_S
