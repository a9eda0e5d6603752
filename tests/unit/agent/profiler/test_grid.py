from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.profiler.grid import Grid

MS = 1_000_000
S = 1_000 * MS
UNIX_NS = 1_700_000_000 * S


def test_blocks_end_on_whole_seconds_of_the_wall_clock() -> None:
    grid = Grid(5 * S, UNIX_NS + 300 * MS, 10 * S, 5 * S)
    first, second = grid.advance(), grid.advance()
    assert (first.start_ns, first.end_ns) == (5 * S, 5 * S + 700 * MS)
    assert second.start_unix_ns == UNIX_NS + S
    assert second.length_ns == S


def test_windows_and_batches_end_on_their_own_multiples() -> None:
    grid = Grid(0, UNIX_NS, 10 * S, 5 * S)
    spans = [grid.advance() for _ in range(20)]
    assert [i for i, s in enumerate(spans) if s.ends_window] == [9, 19]
    assert [i for i, s in enumerate(spans) if s.ends_batch] == [4, 9, 14, 19]


def test_drift_is_taken_up_by_a_blocks_length() -> None:
    grid = Grid(0, UNIX_NS, S, S)
    grid.advance()
    grid.clock(S + 1, UNIX_NS + S + 1 + 20 * MS)
    spans = [grid.advance() for _ in range(3)]
    assert [s.start_unix_ns for s in spans] == [UNIX_NS + (i + 1) * S for i in range(3)]
    assert sorted(s.length_ns for s in spans) == [980 * MS, S, S]
    assert not any(s.stepped for s in spans)


def test_step_is_marked_and_the_next_block_is_aligned_again() -> None:
    grid = Grid(0, UNIX_NS, 10 * S, 10 * S)
    grid.advance()
    grid.clock(1500 * MS, UNIX_NS + 3600 * S + 1700 * MS)
    stepped, after = grid.advance(), grid.advance()
    assert stepped.stepped
    assert (stepped.start_unix_ns, stepped.end_ns) == (UNIX_NS + S, 1800 * MS)
    assert not after.stepped
    assert after.start_unix_ns == UNIX_NS + 3602 * S


def test_wall_clock_before_2000_is_not_passed_on() -> None:
    grid = Grid(0, 5 * S, S, S)
    assert grid.current.unix_ns(0) == 946_684_800 * S


@pytest.mark.parametrize("window_ns", [0, -S, 1500 * MS, 100 * MS])
def test_only_whole_seconds(window_ns: int) -> None:
    with pytest.raises(ValueError, match="whole number of seconds"):
        Grid(0, UNIX_NS, window_ns, S)


@given(
    st.integers(0, S),
    st.lists(st.tuples(st.integers(0, 3 * S), st.integers(-5 * S, 5 * S)), max_size=30),
)
def test_blocks_tile_time_and_end_aligned_whatever_the_clock_does(
    phase_ns: int, readings: list[tuple[int, int]]
) -> None:
    grid = Grid(0, UNIX_NS + phase_ns, 10 * S, 5 * S)
    now_ns, offset_ns, end_ns = 0, UNIX_NS + phase_ns, 0
    for since_ns, change_ns in readings:
        now_ns += since_ns
        while grid.current.end_ns <= now_ns:
            span = grid.advance()
            assert span.start_ns == end_ns
            assert 0 < span.length_ns <= 3 * S
            end_ns = span.end_ns
        offset_ns += change_ns
        grid.clock(now_ns, now_ns + offset_ns)
        assert grid.current.end_ns > now_ns
        assert abs(grid.offset_ns - offset_ns) <= MS
    last = [grid.advance() for _ in range(3)][-1]
    assert (last.end_ns + grid.offset_ns) % S == 0
