import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.agent.attribution.dither import dithered
from chipwatt.collector.egress.noise import (
    EPSILON,
    PARTS,
    SENSITIVITY,
    WINDOWS,
    counts_above,
    discrete_laplace,
    release,
)
from chipwatt.core import coarse
from chipwatt.core.model import Attribution
from chipwatt.core.records import WorkloadWindow

MINUTE = WorkloadWindow(
    workload_id=b"w" * 16,
    class_id=b"c" * 16,
    start_unix_ns=1_800_000_000_000_000_000,
    duration_ns=coarse.WINDOW_NS,
    attribution=Attribution.EXACT,
    limit_mw=800_000,
    energy_steps=7,
    occupancy=(0, 0, 0, 32, 0, 0, 0, 0),
    swing_class=0,
)


def minutes(*occupancies: tuple[int, ...]) -> list[WorkloadWindow]:
    return [
        replace(MINUTE, occupancy=each, start_unix_ns=MINUTE.start_unix_ns + n * coarse.WINDOW_NS)
        for n, each in enumerate(occupancies)
    ]


def test_without_noise_a_release_is_the_truth() -> None:
    given_ = minutes(*[MINUTE.occupancy] * 4, (0, 0, 0, 0, 0, 0, 0, 32))
    told = release(given_, list)
    assert told.above == (160, 160, 160, 32, 32, 32, 32)
    assert told.mean_mw == (4 * 350_000 + 750_000) // 5
    assert told.end_unix_ns - told.start_unix_ns == WINDOWS * coarse.WINDOW_NS


@settings(deadline=None)
@given(
    st.randoms(use_true_random=False),
    st.integers(1, 8),
    st.integers(0, 1200 - 11),
    st.lists(st.integers(0, 7), min_size=11, max_size=11),
    st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)),
)
def test_a_second_anywhere_moves_a_release_by_no_more_than_the_noise_is_made_for(
    rng: random.Random, levels_used: int, at: int, event: list[int], offsets: tuple[int, int]
) -> None:
    # Tenths of a second of two minutes; the event may straddle them.
    before = rng.choices(range(levels_used), k=1200)
    after = [*before[:at], *event, *before[at + 11 :]]

    def told(levels: list[int]) -> list[int]:
        windows = []
        for half, offset in zip((levels[:600], levels[600:]), offsets, strict=True):
            weights = [half.count(level) for level in range(8)]
            windows.append(replace(MINUTE, occupancy=dithered(weights, 32, offset)))
        return counts_above(windows)

    moved = sum(abs(a - b) for a, b in zip(told(before), told(after), strict=True))
    assert moved <= SENSITIVITY


def test_noise_is_of_integers_of_the_declared_size_and_new_each_time() -> None:
    noise = discrete_laplace()
    drawn = [each for _ in range(2_000) for each in noise([0] * 7)]
    assert all(isinstance(each, int) for each in drawn)
    mean_size = sum(map(abs, drawn)) / len(drawn)
    assert abs(mean_size - SENSITIVITY / EPSILON) < 0.7  # six standard deviations
    assert noise([0] * 7) != noise([0] * 7)


@pytest.mark.parametrize(
    "windows",
    [
        minutes(*[MINUTE.occupancy] * 4),
        [*minutes(*[MINUTE.occupancy] * 4), replace(MINUTE, limit_mw=1)],
        [*minutes(*[MINUTE.occupancy] * 4), replace(MINUTE, workload_id=b"x" * 16)],
    ],
)
def test_only_five_windows_of_one_workload_are_released(windows: list[WorkloadWindow]) -> None:
    with pytest.raises(ValueError, match="5 windows"):
        release(windows, list)


def test_a_part_is_of_five_minutes() -> None:
    assert PARTS == 160
