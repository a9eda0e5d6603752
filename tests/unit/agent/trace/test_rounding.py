"""What rounding to whole mW takes from a trace is said, exactly."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import floor
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.trace.reader import read_trace
from chipwatt.agent.trace.text import decimal, rest

HEAD = "Timestamp (s),Power (mW)\n"
START_S = 1_700_000_000


@given(st.decimals(0, 10**6, places=4), st.integers(-3, 3))
def test_value_and_rest_are_the_number(number: object, power_of_ten: int) -> None:
    text = f"{number:f}"
    whole = decimal(text, power_of_ten)
    assert whole is not None
    left = rest(text, power_of_ten)
    assert whole + left == Fraction(text) * Fraction(10) ** power_of_ten
    assert abs(left) <= Fraction(1, 2)


def test_the_files_own_integral_uses_every_digit(tmp_path: Path) -> None:
    texts = [f"{1000 + 7 * k % 13}.{(k * 377) % 1000:03}" for k in range(200)]
    path = tmp_path / "board.csv"
    rows = (f"{START_S + k},{text}\n" for k, text in enumerate(texts))
    path.write_text(HEAD + "".join(rows))
    device = read_trace(path).devices[0]
    powers = [Fraction(text) for text in texts]
    exact_uj = floor(sum((p0 + p1) / 2 * 1_000 for p0, p1 in pairwise(powers)))
    assert device.rounded is not None
    assert device.energy_uj + device.rounding_uj == exact_uj
    assert device.rounding_uj != 0


def test_whole_numbers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "board.csv"
    path.write_text(HEAD + f"{START_S},1000.000\n{START_S + 1},1001\n")
    device = read_trace(path).devices[0]
    assert (device.rounded, device.rounding_uj) == (None, 0)
