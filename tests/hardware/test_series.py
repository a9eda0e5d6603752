from __future__ import annotations

import pytest

from hardware.series import (
    Series,
    averaging_ns,
    energies,
    integral_mj,
    lag_ns,
    refresh_ns,
)

MS = 1_000_000
S = 1000 * MS


def card(
    seconds: int, low_mw: int, high_mw: int, half_ns: int, window_ns: int = S, refresh: int = 100
) -> Series:
    """A card that refreshes each ``refresh`` ms and averages over ``window_ns``."""
    series = Series()

    def power_mw(at_ns: int) -> int:
        return high_mw if at_ns // half_ns % 2 else low_mw

    history: list[int] = []
    energy_mj = instant = average = shown_mj = 0
    for at_ms in range(seconds * 1000):
        history.append(power_mw(at_ms * MS))
        energy_mj += history[-1]  # mW for 1 ms: µJ
        if at_ms % refresh == 0:
            instant = history[-1]
            recent = history[-(window_ns // MS) :]
            average = round(sum(recent) / len(recent))
            shown_mj = energy_mj // 1000
        if at_ms % 2 == 0:
            series.times_ns.append(at_ms * MS)
            series.energy_mj.append(shown_mj)
            series.average_mw.append(average)
            series.instant_mw.append(instant)
    return series


def test_refresh_is_found_and_a_still_value_says_nothing() -> None:
    seen = card(10, 100_000, 500_000, 200 * MS)
    assert refresh_ns(seen.times_ns, seen.energy_mj) == 100 * MS
    assert refresh_ns(seen.times_ns, [5] * len(seen.times_ns)) is None
    assert refresh_ns([], []) is None


@pytest.mark.parametrize("window_ms", [100, 500, 1000])
def test_the_averaging_window_is_found(window_ms: int) -> None:
    seen = card(20, 100_000, 500_000, 1500 * MS, window_ms * MS)
    found = averaging_ns(seen)
    assert found is not None
    assert abs(found[0] - window_ms * MS) <= 50 * MS


def test_an_average_that_is_the_instant_has_no_window() -> None:
    seen = card(20, 100_000, 500_000, 1500 * MS)
    seen.average_mw = list(seen.instant_mw)
    assert averaging_ns(seen) == (0, 0.0)
    seen.average_mw = [7] * len(seen.times_ns)
    assert averaging_ns(seen) is None
    assert averaging_ns(Series()) is None


def test_counter_and_integral_agree_over_whole_waves() -> None:
    found = energies(card(21, 100_000, 500_000, 1000 * MS))
    assert found is not None
    assert found.counter_over_instant_ppm is not None
    assert abs(found.counter_over_instant_ppm) < 10_000
    biased = card(21, 100_000, 500_000, 1000 * MS)
    biased.energy_mj = [value * 103 // 100 for value in biased.energy_mj]
    worse = energies(biased)
    assert worse is not None
    assert worse.counter_over_instant_ppm == pytest.approx(30_000, abs=10_000)
    assert energies(Series()) is None


def test_the_integral_of_a_step_function_is_exact() -> None:
    times, power = [0, S, 3 * S], [1000, 5000, 2000]
    assert integral_mj(times, power, 0, 3 * S) == 1000 + 10_000
    assert integral_mj(times, power, S // 2, 4 * S) == 500 + 10_000 + 2000
    assert integral_mj(times, power, 2 * S, 2 * S) == 0


def test_lag_is_from_the_step_to_half_way_up() -> None:
    times = [at * 100 * MS for at in range(20)]
    power = [100] * 7 + [900] * 13
    assert lag_ns(times, power, 450 * MS, 2 * S) == 250 * MS
    assert lag_ns(times, [100] * 20, 450 * MS, 2 * S) is None
    assert lag_ns(times, power, 1000 * MS, 2 * S) is None, "it was up before"
    assert lag_ns(times, power, -1, 2 * S) is None
