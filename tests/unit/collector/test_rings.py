from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.rings import RING_S, Rings
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.codec import tables_from_records
from chipwatt.core.columns import SectionKind
from chipwatt.core.model import Flag
from chipwatt.core.records import HostSecond, Records
from chipwatt.core.tables import Table
from fakes.telemetry_records import T0_S, a_second


def table(*seconds: HostSecond) -> Table:
    return tables_from_records(Records(host_seconds=seconds))[SectionKind.HOST_SECOND]


def put(rings: Rings, row: int, *seconds: HostSecond) -> None:
    rings.take([(np.full(len(seconds), row), table(*seconds))])


def rows(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def test_a_second_is_read_back_on_its_row_only() -> None:
    rings = Rings()
    put(rings, 1, a_second(T0_S, 250_000, 300_000))
    got = rings.seconds(rows(0, 1, -1), np.array([T0_S, T0_S + 1]))
    assert got.known.tolist() == [[False, False], [True, False], [False, False]]
    assert got.mean_mw[1, 0] == 250_000
    assert got.peak_mw[1, 0] == 300_000


def test_a_merged_bin_fills_every_second_of_it() -> None:
    rings = Rings()
    put(rings, 0, a_second(T0_S, 100, 150, duration_ns=10 * NS_PER_S))
    got = rings.seconds(rows(0), np.arange(T0_S - 1, T0_S + 11))
    assert got.known[0].tolist() == [False] + [True] * 10 + [False]
    assert set(got.mean_mw[0, 1:11]) == {100.0}


def test_a_bin_longer_than_the_ring_keeps_its_end() -> None:
    rings = Rings()
    put(rings, 0, a_second(T0_S, 100, 150, duration_ns=3_600 * NS_PER_S))
    state = rings.states(rows(0), T0_S + 3_599)
    assert state.newest_s.tolist() == [T0_S + 3_599]
    assert state.held.tolist() == [RING_S]


def test_without_a_measured_peak_the_mean_stands_and_is_marked() -> None:
    rings = Rings()
    put(rings, 0, a_second(T0_S, 700, None))
    put(rings, 1, a_second(T0_S, 700, 650))
    state = rings.states(rows(0, 1), T0_S)
    assert state.last_peak_mw.tolist() == [700.0, 700.0]
    assert state.estimated.tolist() == [True, False]


def test_a_power_model_is_marked() -> None:
    rings = Rings()
    put(rings, 0, a_second(T0_S, 7, 9, flags=Flag.ESTIMATED))
    assert rings.states(rows(0), T0_S).estimated.tolist() == [True]


def test_an_unknown_row_has_nothing() -> None:
    rings = Rings()
    put(rings, 15, a_second(T0_S, 700, 900))
    state = rings.states(rows(-1), T0_S)
    assert [int(getattr(state, name)[0]) for name in ("newest_s", "held", "highest_mw")] == [0] * 3


def test_no_rows_at_all() -> None:
    assert len(Rings().states(rows(), T0_S).newest_s) == 0


def test_rows_grow_and_keep_what_they_held() -> None:
    rings = Rings(rows=1)
    put(rings, 0, a_second(T0_S, 5, 6))
    rings.reserve(1_100)
    put(rings, 1_099, a_second(T0_S, 7, 8))
    assert rings.states(rows(0, 1_099), T0_S).last_peak_mw.tolist() == [6.0, 8.0]
    # More rows than are summed up in one block.
    assert int(rings.states(np.arange(1_100), T0_S).held.sum()) == 2


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.integers(0, 2 * RING_S), st.integers(0, 10**6), st.integers(0, 99)
        ),
        max_size=60,
    ),
    st.integers(1, 5),
)
def test_the_newest_of_each_slot_stays_in_whatever_order(
    bins: list[tuple[int, int, int, int]], at_once: int
) -> None:
    rings, truth = Rings(), dict[tuple[int, int], tuple[int, int, int]]()
    for start in range(0, len(bins), at_once):
        part = bins[start : start + at_once]
        rings.take(
            [
                (np.array([row]), table(a_second(T0_S + s, mean, mean + up)))
                for row, s, mean, up in part
            ]
        )
        for row, s, mean, up in sorted(part, key=lambda one: one[1]):
            second = T0_S + s
            if truth.get((row, second % RING_S), (0, 0, 0))[0] <= second:
                truth[row, second % RING_S] = (second, mean, mean + up)
    for (row, _), (second, mean, peak) in truth.items():
        got = rings.seconds(rows(row), np.array([second]))
        assert (got.known[0, 0], got.mean_mw[0, 0], got.peak_mw[0, 0]) == (True, mean, peak)
    for row in range(4):
        held = [value for (of, _), value in truth.items() if of == row]
        state = rings.states(rows(row), T0_S + 2 * RING_S)
        assert state.newest_s[0] == max((second for second, _, _ in held), default=0)
        assert state.highest_mw[0] == max((peak for _, _, peak in held), default=0)
        expected = sum(mean for _, mean, _ in held) / max(len(held), 1)
        assert state.mean_mw[0] == pytest.approx(expected)
