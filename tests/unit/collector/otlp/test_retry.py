"""Every code of OTLP's table, and RetryInfo as servers send it."""

from __future__ import annotations

from collections.abc import Iterable

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.otlp.retry import MAX_DELAY_S, Verdict, of_grpc, of_http
from fakes.otlp_sink import status_details

KEY = "grpc-status-details-bin"
NEVER = -1.0
NOW_S = 1_800_000_000.0
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


def retry_after_s(code: grpc.StatusCode, trailing: Iterable[tuple[str, str | bytes]]) -> float:
    answer = of_grpc(code, "no", trailing)
    return answer.after_s if answer.verdict is Verdict.RETRY else NEVER


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


@pytest.mark.parametrize("status", [*range(100, 102), *range(200, 210), *range(300, 309),
                                    *range(400, 432), *range(500, 512)])  # fmt: skip
def test_the_table_of_http(status: int) -> None:
    verdict = of_http(status, "", b"", NOW_S).verdict
    assert (verdict is Verdict.TAKEN) == (200 <= status < 300)
    assert (verdict is Verdict.RETRY) == (status in (429, 502, 503, 504))
    assert (verdict is Verdict.TOO_LARGE) == (status == 413)
    assert (verdict is Verdict.BAD_DATA) == (status in (400, 422))


@pytest.mark.parametrize(
    ("header", "after_s"),
    [
        ("", 0.0),
        ("7", 7.0),
        (" 120 ", 120.0),
        ("99999999999999999999", MAX_DELAY_S),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("Fri, 15 Jan 2044 07:00:00 GMT", MAX_DELAY_S),
        ("soon", 0.0),
        ("-5", 0.0),
        ("1.5", 0.0),
    ],
)
def test_retry_after_in_both_its_forms(header: str, after_s: float) -> None:
    for status in (429, 503):
        assert of_http(status, header, b"", NOW_S).after_s == after_s


@pytest.mark.parametrize(
    "details",
    [
        "Received message larger than max (5000000 vs. 4194304)",
        "grpc: received message larger than max (5000000 vs. 4194304)",
        "gRPC message exceeds maximum size 4194304: 5000000",
    ],
)
def test_what_is_too_large_for_grpc_says_so_in_words(details: str) -> None:
    exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
    assert of_grpc(exhausted, details, ()).verdict is Verdict.TOO_LARGE
    assert of_grpc(exhausted, "quota", ()).verdict is Verdict.REFUSED


@given(st.binary(max_size=300), st.text(max_size=40), st.sampled_from([200, 400, 413, 429, 503]))
def test_no_answer_of_http_breaks_us(body: bytes, header: str, status: int) -> None:
    answer = of_http(status, header, body, NOW_S)
    assert 0 <= answer.after_s <= MAX_DELAY_S
    assert answer.rejected >= 0
