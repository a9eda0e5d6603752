from __future__ import annotations

import random
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.core.backoff import delays_s


def highest(low: float, high: float) -> float:
    assert low == 0.0
    return high


def test_ceilings_double_up_to_the_cap_and_stay_there() -> None:
    assert list(islice(delays_s(0.5, 5, highest), 6)) == [0.5, 1, 2, 4, 5, 5]


@given(st.floats(0.001, 100), st.floats(1, 1000), st.integers(0, 3000))
def test_every_delay_lies_under_its_ceiling_however_long_it_goes_on(
    base_s: float, factor: float, skip: int
) -> None:
    cap_s = base_s * factor
    for delay_s in islice(delays_s(base_s, cap_s), skip, skip + 5):
        assert 0 <= delay_s <= cap_s


def test_delays_are_spread_out() -> None:
    firsts = [next(delays_s(1, 10)) for _ in range(200)]
    assert min(firsts) < 0.2
    assert max(firsts) > 0.8


@pytest.mark.parametrize(("base_s", "cap_s"), [(0, 1), (-1, 1), (2, 1)])
def test_no_range(base_s: float, cap_s: float) -> None:
    with pytest.raises(ValueError, match="no range"):
        delays_s(base_s, cap_s)


@given(st.floats(0, 600), st.integers(0, 2**32))
def test_a_fleet_is_back_within_the_cap_and_not_in_one_wave(outage_s: float, seed: int) -> None:
    """The agent's own ceilings: 0.5 s to 20 s."""
    fleet = random.Random(seed)
    back_s = []
    for _ in range(300):
        at_s = 0.0
        for delay_s in delays_s(0.5, 20, fleet.uniform):
            at_s += delay_s
            if at_s >= outage_s:
                break
        back_s.append(at_s - outage_s)
    assert max(back_s) <= 20
    if outage_s > 60:
        crowds = Counter(int(wait_s) for wait_s in back_s)
        assert max(crowds.values()) < 300 / 4
