import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.attribution.workload_window import SAMPLE_NS, WindowMaker, parts_of
from chipwatt.core import coarse
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.records import WorkloadWindow

WHO, KIND = bytes(range(16)), bytes(range(16, 32))
LIMIT_MW = 800_000
START = 1_800_000_000 * NS_PER_S
POWERS = st.lists(st.integers(0, 900_000), min_size=8, max_size=40)


def window_of(
    powers_mw: list[int], maker: WindowMaker | None = None, share: float = 1.0
) -> WorkloadWindow | None:
    maker = maker or WindowMaker(WHO, KIND, LIMIT_MW)
    each_ns = int(coarse.WINDOW_NS * share) // len(powers_mw)
    for number, power_mw in enumerate(powers_mw):
        maker.observe(number * each_ns, power_mw, each_ns)
    return maker.close(START)


def test_a_window_says_at_most_thirty_bits() -> None:
    assert 29.9 < coarse.bits_a_window() <= 30


def test_a_steady_workload() -> None:
    window = window_of([390_000] * 600)
    assert window is not None
    assert (window.workload_id, window.class_id, window.start_unix_ns) == (WHO, KIND, START)
    assert (window.energy_steps, window.swing_class) == (7, 0)
    assert window.occupancy == (0, 0, 0, 32, 0, 0, 0, 0)
    assert window.energy_uj == 7 * 3_200_000_000


@given(POWERS, st.randoms(use_true_random=False))
def test_order_reaches_nothing_but_the_swing_class(
    powers_mw: list[int], rng: random.Random
) -> None:
    shuffled = rng.sample(powers_mw, len(powers_mw))
    maker = WindowMaker(WHO, KIND, LIMIT_MW, secret=b"s")
    other = WindowMaker(WHO, KIND, LIMIT_MW, secret=b"s")
    assert window_of(powers_mw, maker) == window_of(shuffled, other)


@given(st.lists(POWERS, min_size=1, max_size=6), st.data())
def test_energy_is_never_invented_nor_lost(minutes: list[list[int]], data: st.DataObject) -> None:
    maker = WindowMaker(WHO, KIND, LIMIT_MW)
    said_uj = truth_pj = unsaid_uj = 0
    for powers_mw in minutes:
        share = data.draw(st.sampled_from((0.5, 0.94, 1.0)))
        window = window_of(powers_mw, maker, share)
        assert (window is None) == (share < 0.95)
        each_ns = int(coarse.WINDOW_NS * share) // len(powers_mw)
        truth_pj += sum(powers_mw) * each_ns
        said_uj += window.energy_uj if window else 0
        unsaid_uj += maker.take_unsaid_uj()
        assert sum(window.occupancy) == 32 if window else True
        assert 0 <= truth_pj // 10**6 - said_uj - unsaid_uj <= coarse.step_uj(LIMIT_MW)
    unsaid_uj += maker.take_unsaid_uj(ended=True)
    assert said_uj + unsaid_uj == truth_pj // 10**6


def test_energy_that_is_given_in_joules_stays_exact() -> None:
    maker = WindowMaker(WHO, KIND, LIMIT_MW)
    for number in range(600):
        maker.observe_energy(number * SAMPLE_NS, 33_333_333, SAMPLE_NS)
    window = maker.close(START)
    assert window is not None
    assert window.energy_uj + maker.take_unsaid_uj(ended=True) == 600 * 33_333_333


def test_a_chip_above_its_limit_is_not_cut_short() -> None:
    maker = WindowMaker(WHO, KIND, LIMIT_MW)
    window = window_of([2 * LIMIT_MW] * 60, maker)
    assert window is not None
    assert (window.energy_steps, window.occupancy[-1]) == (coarse.MAX_STEPS, 32)
    told_uj = window.energy_uj + maker.take_unsaid_uj(ended=True)
    assert told_uj == 2 * LIMIT_MW * 60_000


@pytest.mark.parametrize(
    ("low_mw", "high_mw", "swing"),
    [(400_000, 400_000, 0), (400_000, 420_000, 1), (400_000, 460_000, 2), (100_000, 700_000, 3)],
)
def test_swing_by_the_half_second(low_mw: int, high_mw: int, swing: int) -> None:
    window = window_of([low_mw, high_mw] * 60, WindowMaker(WHO, KIND, LIMIT_MW, with_swing=True))
    assert window is not None
    assert window.swing_class == swing


def test_swing_between_windows_is_of_no_window() -> None:
    maker = WindowMaker(WHO, KIND, LIMIT_MW, with_swing=True)
    for power_mw in (100_000, 700_000):
        window = window_of([power_mw] * 120, maker)
        assert window is not None
        assert window.swing_class == 0


def test_a_limit_of_nothing_is_no_limit() -> None:
    with pytest.raises(ValueError, match="limit of 0 mW"):
        WindowMaker(WHO, KIND, 0)


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=12), st.integers(0, 10**9))
def test_parts_add_up_and_are_fair(weights: list[int], parts: int) -> None:
    shares = parts_of(weights, parts)
    total = sum(weights)
    assert sum(shares) == parts
    for weight, share in zip(weights, shares, strict=True):
        assert not total or abs(share * total - parts * weight) < total


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        parts_of([1, -1], 32)
