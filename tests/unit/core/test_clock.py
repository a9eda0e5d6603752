from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.core.clock import Clock, SystemClock, VirtualClock

START_UNIX_NS = 1_763_715_600_000_000_000


def test_the_system_clock_is_the_machines() -> None:
    clock: Clock = SystemClock()
    before_ns = time.monotonic_ns()
    assert before_ns <= clock.mono_ns() <= time.monotonic_ns()
    assert abs(clock.unix_ns() - time.time_ns()) < 1_000_000_000


def test_sleeping_reaches_the_deadline_and_never_waits_for_one_that_has_passed() -> None:
    clock = SystemClock()
    deadline_ns = clock.mono_ns() + 2_000_000
    clock.sleep_until(deadline_ns)
    assert clock.mono_ns() >= deadline_ns
    clock.sleep_until(0)
    clock.sleep_until(deadline_ns - 10**12)


@given(st.lists(st.integers(-(10**12), 10**12)))
def test_virtual_time_only_goes_forward_and_to_where_it_is_told(deadlines: list[int]) -> None:
    clock = VirtualClock(START_UNIX_NS)
    assert clock.mono_ns() == 0
    latest_ns = 0
    for deadline_ns in deadlines:
        clock.sleep_until(deadline_ns)
        latest_ns = max(latest_ns, deadline_ns)
        assert clock.mono_ns() == latest_ns
        assert clock.unix_ns() == START_UNIX_NS + latest_ns


@given(st.integers(-(10**18), 10**18), st.integers(0, 10**12))
def test_a_step_moves_the_wall_alone(step_ns: int, mono_ns: int) -> None:
    clock = VirtualClock(START_UNIX_NS)
    clock.sleep_until(mono_ns)
    clock.step_wall(step_ns)
    assert clock.mono_ns() == mono_ns
    assert clock.unix_ns() == START_UNIX_NS + mono_ns + step_ns
