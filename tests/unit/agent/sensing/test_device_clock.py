from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.sensing.device_clock import DeviceClock

MS = 1_000_000


@given(
    ages=st.lists(st.integers(0, MS), min_size=1, max_size=200),
    offset=st.integers(-(10**15), 10**15),
)
def test_times_rise_and_never_pass_the_reading(ages: list[int], offset: int) -> None:
    clock = DeviceClock()
    last = -1
    for number, age in enumerate(ages, 1):
        read_ns = number * 10 * MS + 10**15
        mono_ns = clock.mono_ns(read_ns - age + offset, read_ns)
        assert last < mono_ns <= read_ns
        last = mono_ns


def test_intervals_are_those_of_the_device() -> None:
    clock = DeviceClock()
    ages = [0, 900_000, 300_000, 700_000, 10]
    stamps = [number * 10 * MS - age for number, age in enumerate(ages, 1)]
    times = [
        clock.mono_ns(stamp + 5 * 10**12, stamp + age)
        for stamp, age in zip(stamps, ages, strict=True)
    ]
    assert [b - a for a, b in pairwise(times)] == [b - a for a, b in pairwise(stamps)]


def test_same_stamp_is_the_same_sample() -> None:
    clock = DeviceClock()
    assert clock.mono_ns(7, 1000) == clock.mono_ns(7, 2000)


def test_a_stamp_that_stands_still_is_no_clock() -> None:
    clock = DeviceClock()
    first = clock.mono_ns(7, 10**12)
    assert clock.mono_ns(7, first + 1_000_000_001) == first + 1_000_000_001


def test_drift_of_the_device_s_oscillator_is_followed() -> None:
    clock = DeviceClock()
    worst = 0
    for second in range(1, 3600):
        read_ns = second * 1_000_000_000
        stamp_ns = read_ns * 999_950 // 1_000_000  # 50 ppm slow: 180 ms in an hour
        worst = max(worst, read_ns - clock.mono_ns(stamp_ns, read_ns))
    assert worst <= 2 * MS


def test_restarted_device_starts_anew() -> None:
    clock = DeviceClock()
    before = clock.mono_ns(10**12, 10**12)
    after = clock.mono_ns(5, 2 * 10**12)
    assert before < after == 2 * 10**12
