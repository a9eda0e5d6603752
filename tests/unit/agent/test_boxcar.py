from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.agent.boxcar import Series, Window, fit
from fakes.firmware import Firmware
from fakes.scenario import NS_PER_S, Point, ramp, square, steady

MS = 1_000_000
START_NS = 6 * NS_PER_S
"""Loads begin earlier, so that the first windows are whole."""

STEP_NS = 11 * NS_PER_S


def found(gauge: Series, reference: Series, *, counter: bool = True) -> Window | None:
    search = fit(gauge, reference, counter=counter)
    while True:
        try:
            next(search)
        except StopIteration as end:
            value: Window | None = end.value
            return value


def polls(period_ns: int, seconds: float = 10, first_ns: int = START_NS) -> list[int]:
    """Return times of polls that come up to a fifth of a millisecond late."""
    chance = random.Random(period_ns)
    count = int(seconds * NS_PER_S) // period_ns
    return [first_ns + n * period_ns + chance.randrange(200_000) for n in range(count)]


def staircase(seed: int, step_ns: int, until_ns: int = 17 * NS_PER_S) -> list[Point]:
    chance = random.Random(seed)
    levels = [chance.randrange(60_000, 700_000) for _ in range(until_ns // step_ns + 1)]
    edges = ((n * step_ns, level) for n, level in enumerate(levels))
    return list(itertools.chain(*(((at, mw), (at + step_ns, mw)) for at, mw in edges)))


MOVING = {
    "square": square(150_000, 600_000, 3 * NS_PER_S, 20),
    "step": [(0, 90_000), (STEP_NS, 90_000), (STEP_NS, 650_000), (20 * NS_PER_S, 650_000)],
    "stairs": staircase(7, 400 * MS),
}  # fmt: skip


@pytest.mark.parametrize("load", MOVING.values(), ids=MOVING)
@pytest.mark.parametrize("window_ms", [1000, 1500])
@pytest.mark.parametrize("period_ms", [20, 50])
def test_a_window_is_found_beside_a_counter_and_beside_an_instantaneous_gauge(
    load: list[Point], window_ms: int, period_ms: int
) -> None:
    chip = Firmware(load, averaging_ns=window_ms * MS)
    at = polls(period_ms * MS)
    seen = [found(chip.average(at), chip.counter(at))]
    seen.append(found(chip.average(at), chip.instant(at), counter=False))
    assert any(seen), "at least one of the two tells"
    for window in filter(None, seen):
        assert abs(window.averaging_ns - window_ms * MS) <= window.uncertainty_ns
        assert window.uncertainty_ns <= window_ms * MS / 10


STEADY = {
    "steady": steady(300_000),
    "ramp": ramp(100_000, 600_000, 20 * NS_PER_S),
    "a wave that the window smooths away": square(100_000, 600_000, 250 * MS, 20),
}


@pytest.mark.parametrize("load", STEADY.values(), ids=STEADY)
def test_a_load_that_cannot_tell_gives_no_answer(load: list[Point]) -> None:
    chip = Firmware(load, noise_mw=(0, 300, -200, 100, -300))
    at = polls(50 * MS)
    assert found(chip.average(at), chip.counter(at)) is None
    assert found(chip.average(at), chip.instant(at), counter=False) is None


def test_a_gauge_without_a_mean_is_said_to_have_none_longer_than_some_refreshes() -> None:
    triangle = [(n * NS_PER_S, 600_000 if n % 2 else 100_000) for n in range(20)]
    chip = Firmware(triangle, averaging_ns=25 * MS)
    at = polls(50 * MS)
    window = found(chip.average(at), chip.counter(at))
    assert window is not None
    assert window.averaging_ns == 0
    assert window.uncertainty_ns == pytest.approx(300 * MS, rel=0.02)


def test_noise_that_no_window_explains_gives_no_answer() -> None:
    chance = random.Random(3)
    chip = Firmware(
        steady(300_000), noise_mw=[chance.randrange(-90_000, 90_000) for _ in range(97)]
    )
    at = polls(50 * MS)
    assert found(chip.average(at), chip.counter(at)) is None


def test_too_few_polls_and_a_dead_reference_give_no_answer() -> None:
    chip = Firmware(MOVING["square"])
    at = polls(50 * MS)
    assert found(chip.average(at[:9]), chip.counter(at[:9])) is None
    assert found(chip.average(at), [(t, 5) for t in at]) is None
    assert found([], []) is None


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_window_is_within_10_percent_or_not_seen(data: st.DataObject) -> None:
    def one_of(*choices: float) -> float:
        return data.draw(st.sampled_from(choices))

    seed, counter = data.draw(st.integers(0, 1 << 30)), data.draw(st.booleans())
    chance = random.Random(seed)
    window_ms = int(one_of(25, 50, 100, 250, 500, 1000, 1500, 2000))
    refresh_ns = int(one_of(10, 20, 50, 100, 101)) * MS
    noise_mw = one_of(0, 200, 2000)
    chip = Firmware(
        staircase(seed, int(one_of(20, 50, 100, 300, 700, 1500, 3000)) * MS),
        refresh_ns=refresh_ns,
        averaging_ns=window_ms * MS,
        instant_ns=refresh_ns // 4,
        phase_ns=int(one_of(0, 0.3, 0.7) * refresh_ns),
        gain_ppm=data.draw(st.integers(-30_000, 30_000)),
        noise_mw=[round(chance.gauss(0, noise_mw)) for _ in range(83)],
    )
    at = polls(max(10 * MS, int(refresh_ns / one_of(0.25, 1, 2, 5))), one_of(4, 10))
    reference = chip.counter(at) if counter else chip.instant(at)
    window = found(chip.average(at), reference, counter=counter)
    if window is None:
        return
    if window.averaging_ns:
        assert abs(window.averaging_ns - window_ms * MS) <= window_ms * MS / 10
    else:
        assert window_ms * MS <= window.uncertainty_ns


def test_the_search_comes_in_many_pieces() -> None:
    """Whoever polls does them between two polls, so no piece may be most of the work."""
    chip = Firmware(MOVING["square"])
    at = polls(50 * MS)
    assert sum(1 for _ in fit(chip.average(at), chip.counter(at), counter=True)) > 8
