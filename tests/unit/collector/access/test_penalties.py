"""Refusals slow down whoever earns them, and nobody else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.access.penalties import MOST_WAIT_S, PAUSE_S, Penalties


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_who_errs_once_waits_once() -> None:
    clock = Clock()
    penalties = Penalties(clock)
    assert penalties.take("ann") == 0.0
    penalties.punish("ann")
    wait_s = penalties.take("ann")
    assert wait_s is not None
    assert 0 < wait_s <= PAUSE_S + 1e-9
    assert penalties.take("bob") == 0.0
    clock.now_s += 1
    assert penalties.take("ann") == 0.0


@given(st.lists(st.integers(1, 200), min_size=1, max_size=20))
def test_a_flood_is_looked_at_no_more_often_than_the_pause_allows(bursts: list[int]) -> None:
    clock = Clock()
    penalties = Penalties(clock)
    looked_at_s = []
    for burst in bursts:
        for _ in range(burst):  # as many at once, on whatever connections
            wait_s = penalties.take("evil")
            if wait_s is not None:
                assert wait_s <= MOST_WAIT_S
                looked_at_s.append(clock.now_s + wait_s)
                penalties.punish("evil")
        clock.now_s += 1
    span_s = looked_at_s[-1] - looked_at_s[0] + PAUSE_S
    assert len(looked_at_s) <= span_s / PAUSE_S + 1


def test_those_who_were_punished_long_ago_are_forgotten() -> None:
    clock = Clock()
    penalties = Penalties(clock)
    for number in range(20_000):
        penalties.punish(number)
        clock.now_s += 0.01
    assert len(penalties._until_s) < 5_000
