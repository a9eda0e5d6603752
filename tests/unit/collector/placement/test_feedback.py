from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.answering import Refused
from chipwatt.collector.placement.feedback import MIN_REPORTS, Feedback, Held, Outcome
from chipwatt.core.clock import NS_PER_S, VirtualClock

T0_UNIX_NS = 1_790_000_000 * NS_PER_S
DAY_NS = 86_400 * NS_PER_S


def outcome(number: int, quantile_ppm: int = 990_000, *, violated: bool = False) -> Outcome:
    return Outcome(f"{quantile_ppm}-600-{number:024x}", "h1", False, violated, 0)


@pytest.fixture(name="clock")
def a_clock() -> VirtualClock:
    return VirtualClock(T0_UNIX_NS)


@pytest.fixture(name="opened")
def an_opener(tmp_path: Path, clock: VirtualClock) -> Callable[[], Feedback]:
    return lambda: Feedback(tmp_path / "placement.sqlite", clock.unix_ns)


def test_reports_are_counted_once_a_placement_and_for_good(opened: Callable[[], Feedback]) -> None:
    feedback = opened()
    assert [feedback.submit(outcome(n)) for n in (1, 2, 1)] == [1, 2, 2]
    feedback.close()
    again = opened()
    assert again.submit(outcome(3)) == 3
    again.close()


def test_a_share_is_served_from_enough_reports_on(opened: Callable[[], Feedback]) -> None:
    feedback = opened()
    for number in range(MIN_REPORTS - 1):
        feedback.submit(outcome(number, violated=number < 2))
    assert feedback.held(990_000) is None
    feedback.submit(outcome(MIN_REPORTS))
    assert feedback.held(990_000) == Held(900_000, MIN_REPORTS)
    assert feedback.held(985_000) == Held(900_000, MIN_REPORTS)  # its nearest scored quantile
    assert feedback.held(500_000) is None
    feedback.submit(replace(outcome(0), violated=False))
    assert feedback.held(990_000) == Held(950_000, MIN_REPORTS)
    feedback.close()
    again = opened()
    assert again.held(990_000) == Held(950_000, MIN_REPORTS)
    again.close()


def test_what_is_a_week_old_is_not_judged(
    opened: Callable[[], Feedback], clock: VirtualClock
) -> None:
    feedback = opened()
    for number in range(MIN_REPORTS):
        feedback.submit(outcome(number, violated=True))
    clock.step_wall(7 * DAY_NS)
    assert feedback.held(990_000) is None
    clock.step_wall(40 * DAY_NS)
    assert feedback.submit(outcome(99)) == MIN_REPORTS + 1
    assert feedback.submit(outcome(0)) == MIN_REPORTS + 2  # forgotten by now: it counts anew
    feedback.close()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.booleans(), st.integers(0, 3)), min_size=1, max_size=80
    )
)
def test_the_share_in_memory_is_the_share_on_disk(
    tmp_path_factory: pytest.TempPathFactory, reports: list[tuple[int, bool, int]]
) -> None:
    path = tmp_path_factory.mktemp("feedback") / "placement.sqlite"
    clock = VirtualClock(T0_UNIX_NS)
    feedback = Feedback(path, clock.unix_ns)
    last: dict[int, tuple[int, bool]] = {}
    day = 0
    for number, violated, days in reports:
        day += days
        clock.step_wall(days * DAY_NS)
        feedback.submit(outcome(number, violated=violated))
        last[number] = (day, violated)
    judged = [violated for at, violated in last.values() if at > day - 7]
    wanted = None
    if len(judged) >= MIN_REPORTS:
        wanted = Held((len(judged) - sum(judged)) * 1_000_000 // len(judged), len(judged))
    assert feedback.held(990_000) == wanted
    feedback.close()
    again = Feedback(path, clock.unix_ns)
    assert again.held(990_000) == wanted
    again.close()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (Outcome("", "h1", False, False, 0), "placement_id"),
        (Outcome("990000-600-xyz", "h1", False, False, 0), "placement_id"),
        (replace(outcome(1), host_id="h" * 257), "chosen_host_id"),
    ],
)
def test_what_no_rank_gave_is_refused(
    opened: Callable[[], Feedback], wrong: Outcome, field: str
) -> None:
    feedback = opened()
    with pytest.raises(Refused, match=f"^{field}:"):
        feedback.submit(wrong)
    assert feedback.submit(outcome(1)) == 1
    feedback.close()
