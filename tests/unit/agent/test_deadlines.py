from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.deadlines import Schedule


@given(
    origin_ns=st.integers(0, 10**12),
    period_ns=st.integers(1, 10**9),
    delays_ns=st.lists(st.integers(0, 5 * 10**9), min_size=1, max_size=30),
)
def test_late_wake_ups_shift_no_later_deadline_and_every_deadline_is_counted(
    origin_ns: int, period_ns: int, delays_ns: list[int]
) -> None:
    schedule = Schedule(origin_ns, period_ns)
    due = 0
    now_ns = origin_ns
    for delay_ns in delays_ns:
        now_ns = max(now_ns, schedule.next_ns) + delay_ns
        due += schedule.advance(now_ns)
        assert schedule.next_ns > now_ns
        assert schedule.next_ns - now_ns <= period_ns
        assert schedule.next_ns == origin_ns + due * period_ns


@given(
    origin_ns=st.integers(0, 10**12),
    since_ns=st.integers(0, 10**12),
    old_ns=st.integers(1, 10**9),
    period_ns=st.integers(1, 10**9),
)
def test_a_new_period_begins_at_its_next_grid_point(
    origin_ns: int, since_ns: int, old_ns: int, period_ns: int
) -> None:
    schedule = Schedule(origin_ns, old_ns)
    schedule.change(period_ns, origin_ns + since_ns)
    assert 0 < schedule.next_ns - (origin_ns + since_ns) <= period_ns
    assert (schedule.next_ns - origin_ns) % period_ns == 0
