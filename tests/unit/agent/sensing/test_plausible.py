from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.sensing.plausible import CEILING_MW, FLOOR_MW, LEAST_MW, SENTINELS, Doubts
from chipwatt.agent.sources.hwmon import HwmonConfig, HwmonSource
from chipwatt.core.columns import MAX_POWER_MW
from chipwatt.core.model import Domain
from fakes.hwmon import add_chip

NUMBERS = st.one_of(
    st.integers(-(2**63), 2**64 - 1), st.sampled_from(sorted(SENTINELS)), st.integers(-9, 10**6)
)


@given(st.one_of(NUMBERS, st.text(), st.none(), st.floats()), st.sampled_from([1, 1000]))
def test_a_limit_is_a_plausible_power_or_not_said(raw: Any, units_per_mw: int) -> None:
    limit_mw = Doubts().limit_mw(raw, "it", units_per_mw)
    if limit_mw is not None:
        assert LEAST_MW <= limit_mw <= CEILING_MW
        assert limit_mw == raw // units_per_mw
        assert raw not in SENTINELS


@given(st.none() | NUMBERS, st.sampled_from(Domain), st.integers(1_000_000, 6_000_000))
def test_no_told_limit_makes_ordinary_power_impossible(
    raw: int | None, domain: Domain, otherwise_mw: int
) -> None:
    doubts = Doubts()
    limit_mw = doubts.limit_mw(raw, "it")
    most_mw = doubts.max_power_mw(limit_mw, domain, otherwise_mw, "it")
    assert min(FLOOR_MW[domain], otherwise_mw) <= most_mw <= MAX_POWER_MW


@pytest.mark.parametrize("limit_mw", [1, 100, 1000])
def test_a_limit_of_next_to_nothing_is_not_believed(limit_mw: int) -> None:
    assert Doubts().max_power_mw(limit_mw, Domain.BOARD, 2_000_000, "it") == 2_000_000


def test_a_told_limit_bounds_by_half_more() -> None:
    assert Doubts().max_power_mw(700_000, Domain.BOARD, 2_000_000, "it") == 1_050_000


def test_nonsense_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    doubts = Doubts()
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert doubts.limit_mw(2**32 - 1, "/sys/power1_cap", 1000) is None
    assert caplog.messages == [
        "/sys/power1_cap shows 4294967295, which is no power limit: taken as not said"
    ]


@pytest.mark.parametrize("raw", [-1, 3_600_001, 2**32 - 1, 10**30])
def test_nothing_is_averaged_over_more_than_an_hour(raw: int) -> None:
    assert Doubts().averaging_ms(raw, "it") == 0
    assert Doubts().averaging_ms(3_600_000, "it") == 3_600_000


@pytest.mark.parametrize(
    "text",
    [
        "18446744073709551615",
        "9223372036854775792",
        "-5000000",
        "9" * 40,
        "x",
        "4294967295",
        "100000",
    ],
)
def test_an_hwmon_chip_with_nonsense_limits_is_read_as_if_it_had_none(
    tmp_path: Path, text: str
) -> None:
    files = {"power1_average": "100000000", "power1_average_interval": text}
    files |= {f"power1_cap{end}": text for end in ("", "_min", "_max", "_default")}
    add_chip(tmp_path, 0, "amdgpu", files, device="0000:03:00.0")
    source = HwmonSource(HwmonConfig(tmp_path))
    (sensor,) = source.open()
    (reading,) = source.poll()
    assert source.throttle() == []
    source.close()
    assert reading.value == 100_000
    assert (sensor.averaging_ns, sensor.limits.max_mw) == (0, None)
    assert sensor.max_power_mw == 3_000_000
