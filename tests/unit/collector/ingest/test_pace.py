"""Whoever sends as agents do never waits, whatever outages; a flood is held to the rate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.ingest.pace import BATCHES_A_SECOND, MOST_BATCHES, Pace

HOST, OTHER = b"h" * 16, b"o" * 16


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@given(st.lists(st.tuples(st.integers(1, 100), st.integers(0, 80)), max_size=30))
def test_an_agent_at_the_finest_cadence_drains_every_outage_at_once(
    outages: list[tuple[int, int]],
) -> None:
    clock = Clock()
    pace = Pace(clock, most=100)  # as a day, scaled to 100 s
    for away_s, live_s in outages:
        clock.now_s += away_s
        assert not any(pace.take(HOST) for _ in range(away_s))
        for _ in range(live_s):
            clock.now_s += 1
            assert pace.take(HOST) == 0.0
        # Half of what accrues is for the backlog: it is all there again after as long as before.
        clock.now_s += away_s


def test_a_flood_goes_on_at_two_a_second_and_costs_nobody_else() -> None:
    clock = Clock()
    pace = Pace(clock)
    burst = 0
    while not (wait_s := pace.take(HOST)):
        burst += 1
    assert burst == MOST_BATCHES
    sent, began_s = 0, clock.now_s
    while clock.now_s - began_s < 100:
        clock.now_s += wait_s
        sent += 1
        wait_s = pace.take(HOST)
    assert abs(sent / 100 - BATCHES_A_SECOND) < 0.1
    assert pace.take(OTHER) == 0.0


def test_hosts_that_come_and_go_are_forgotten() -> None:
    clock = Clock()
    pace = Pace(clock)
    for number in range(60_000):
        pace.take(number.to_bytes(16))
        clock.now_s += 1
    assert len(pace._left) < 20_000
