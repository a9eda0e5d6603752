"""Quantities as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.cli import quantities


@pytest.mark.parametrize(
    ("power_mw", "text"),
    [
        (None, "-"),
        (0, "0 W"),
        (7, "7 mW"),
        (999, "999 mW"),
        (1_000, "1.00 W"),
        (83_240, "83.2 W"),
        (751_000, "751 W"),
        (9_994, "9.99 W"),
        (9_999, "10.0 W"),
        (999_960, "1.00 kW"),
        (10_096_000, "10.1 kW"),
        (2_500_000_000, "2.50 MW"),
        (-83_240, "-83.2 W"),
    ],
)
def test_power(power_mw: int | None, text: str) -> None:
    assert quantities.power_text(power_mw) == text


def test_energy_and_time() -> None:
    assert quantities.energy_text(0) == "0 mJ"
    assert quantities.energy_text(1_234_567) == "1.23 J"
    assert quantities.energy_text(3_600_000_000_000) == "3.60 MJ"
    assert quantities.duration_text(0) == "-"
    assert quantities.duration_text(40_080_000) == "40.1 ms"
    assert quantities.duration_text(20 * 10**9) == "20.0 s"
    assert quantities.duration_text(150 * 10**9) == "2 min 30 s"
    assert quantities.duration_text(7_260 * 10**9) == "2 h 01 min"
    assert quantities.share_text(12_345) == "1.2 %"
    assert quantities.ramp_text(5_000_000) == "5.00 kW/s"
    assert quantities.size_text(3 << 20) == "3.00 MiB"


@given(st.integers(0, 10**15))
def test_power_text_is_within_half_a_percent(power_mw: int) -> None:
    number, unit = quantities.power_text(power_mw).split()
    factor = {"mW": 1, "W": 10**3, "kW": 10**6, "MW": 10**9}[unit]
    assert float(number) * factor == pytest.approx(power_mw, rel=0.0051)


@given(st.lists(st.none() | st.integers(0, 10**9), max_size=80), st.integers(1, 40))
def test_sparkline_shows_least_and_greatest(values: list[int | None], width: int) -> None:
    line = quantities.sparkline(values, width)
    shown = values[-width:]
    known = [value for value in shown if value is not None]
    assert len(line) == (len(shown) if known else 0)
    if known and min(known) != max(known):
        assert line[shown.index(min(known))] == "▁"
        assert line[shown.index(max(known))] == "█"
    assert all((value is None) == (char == " ") for value, char in zip(shown, line, strict=False))
