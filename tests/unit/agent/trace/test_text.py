from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.trace.text import decimal, stamp


@pytest.mark.parametrize(
    ("text", "power", "value"),
    [
        ("154.0", 3, 154_000),
        (" 5883.52 ", 0, 5884),
        ("535000000", -3, 535_000),
        ("0.5", 0, 0),
        ("1.5", 0, 2),
        ("2.5", 0, 2),
        ("-1.000000", 0, -1),
        ("+7.", 0, 7),
        ("9007199254740993", 0, 9_007_199_254_740_993),  # one more than a float can tell
        ("1564.700000", 3, 1_564_700),
    ],
)
def test_decimal(text: str, power: int, value: int) -> None:
    assert decimal(text, power) == value


@pytest.mark.parametrize(
    "text", ["", "-", "1e3", "nan", "inf", "1_000", "1,5", "0x10", "٣", "1.2.3", "9" * 21, ".5"]
)
def test_what_is_no_decimal(text: str) -> None:
    assert decimal(text) is None


@given(
    number=st.decimals(min_value=-(10**15), max_value=10**15, allow_nan=False, places=9),
    power=st.integers(min_value=-9, max_value=9),
)
def test_decimal_agrees_with_the_decimal_module(number: Decimal, power: int) -> None:
    expected = (number * Decimal(10) ** power).quantize(Decimal(1), ROUND_HALF_EVEN)
    assert decimal(f"{number:f}", power) == expected


@pytest.mark.parametrize(
    ("text", "unix_ns"),
    [
        ("1754586056", 1_754_586_056_000_000_000),
        ("1754586056.000000001", 1_754_586_056_000_000_001),
        ("2025-05-16 01:47:08.318681", 1_747_360_028_318_681_000),
        ("2025-05-16T01:47:08Z", 1_747_360_028_000_000_000),
        ("2025-05-16T03:47:08+02:00", 1_747_360_028_000_000_000),
        ("2025-05-15T20:17:08.000000001-0530", 1_747_360_028_000_000_001),
        ("03-17-2021 22:48:22.821", 1_616_021_302_821_000_000),
    ],
)
def test_stamp(text: str, unix_ns: int) -> None:
    assert stamp(text) == unix_ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2025-05-16",
        "2025-13-01 00:00:00",
        "2025-02-30 00:00:00",
        "13-40-2021 00:00:00",
        "2025-05-16 01:47:08+99:99",
    ],
)
def test_what_is_no_stamp(text: str) -> None:
    assert stamp(text) is None


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001
def test_stamp_agrees_with_datetime(moment: datetime) -> None:
    seconds = moment.replace(tzinfo=UTC, microsecond=0).timestamp()
    expected = int(seconds) * 10**9 + moment.microsecond * 1000
    assert stamp(moment.isoformat(" ", "microseconds")) == expected
