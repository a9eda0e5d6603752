from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.sensing.scaled_clock import ScaledClock
from chipwatt.core.clock import VirtualClock


def test_sixty_times_as_fast() -> None:
    base = VirtualClock(0)
    base.sleep_until(5)
    clock = ScaledClock(1_000, Fraction(60), base)
    assert (clock.mono_ns(), clock.unix_ns()) == (0, 1_000)
    base.sleep_until(1_000_000_005)
    assert (clock.mono_ns(), clock.unix_ns()) == (60_000_000_000, 60_000_001_000)


@given(
    millionths=st.integers(min_value=1, max_value=10**9),
    wait_ns=st.integers(min_value=0, max_value=10**12),
)
def test_a_wait_ends_at_or_just_after_its_time(millionths: int, wait_ns: int) -> None:
    speed = Fraction(millionths, 10**6)
    clock = ScaledClock(0, speed, VirtualClock(0))
    clock.sleep_until(wait_ns)
    assert 0 <= clock.mono_ns() - wait_ns <= speed + 1
