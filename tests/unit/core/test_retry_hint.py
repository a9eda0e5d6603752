"""RetryInfo as we write it and as others do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.core.retry_hint import DETAILS_KEY, exhausted_metadata, retry_delay_s

WRITTEN_BY_GOOGLEAPIS = bytes.fromhex(
    "08081a350a28747970652e676f6f676c65617069732e636f6d2f676f6f676c652e7270632e526574727949"
    "6e666f12090a07080c1080e59a77"
)
"""A google.rpc.Status with code 8 and a RetryInfo of 12.25 s, as generated code writes it."""


def test_what_is_written_is_what_generated_code_writes() -> None:
    assert exhausted_metadata(12.25) == ((DETAILS_KEY, WRITTEN_BY_GOOGLEAPIS),)


@given(st.integers(0, 10**15))
def test_a_delay_comes_back(delay_us: int) -> None:
    delay_s = delay_us / 1e6
    assert retry_delay_s(exhausted_metadata(delay_s)) == pytest.approx(delay_s)


@given(st.binary(max_size=100) | st.integers(0, 60).map(lambda n: WRITTEN_BY_GOOGLEAPIS[:n]))
def test_damaged_details_are_no_hint_or_a_sound_one(details: bytes) -> None:
    found = retry_delay_s([("other", "text"), (DETAILS_KEY, details)])
    assert found is None or found >= 0


def test_without_details_there_is_no_hint() -> None:
    assert retry_delay_s([]) is None
    assert retry_delay_s([(DETAILS_KEY, "text")]) is None
