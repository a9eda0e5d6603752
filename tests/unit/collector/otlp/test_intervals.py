"""Adding up loses nothing, whatever the order and wherever it is cut."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.otlp.intervals import Intervals
from chipwatt.collector.otlp.row import Row, Rows, empty, join
from chipwatt.collector.otlp.windows import add_up, rows_of
from chipwatt.collector.store.contract import Block
from chipwatt.core.codec import tables_from_records
from chipwatt.core.columns import SectionKind
from chipwatt.core.model import Domain, Flag, Statistic
from chipwatt.core.records import DeviceWindow, HostSecond, Records
from fakes.device_windows import CPU, GPU, HOST_B, NS, T0_NS, Shelf, a_run, a_window

MINUTE_NS = 60 * NS
FAR = T0_NS * 2


def rows(found: Rows) -> list[Row]:
    return [Row._make(row) for row in found.array[list(Row._fields)].tolist()]


def test_a_minute_of_windows_becomes_one_row() -> None:
    block = Shelf().put(a_run([100, 200, 300, 400, 500, 600, 700], base_uj=5000))
    first, second = rows(add_up(rows_of(block, MINUTE_NS)))
    assert first._asdict() == {
        "host": 0,
        "device": 0,
        "domain": Domain.BOARD,
        "statistic": Statistic.ENERGY,
        "is_root": 1,
        "epoch": 1,
        "slot": T0_NS // MINUTE_NS,
        "start_unix_ns": T0_NS,
        "end_unix_ns": T0_NS + MINUTE_NS,
        "base_uj": 5000,
        "cumulative_uj": 7100,
        "energy_uj": 2100,
        "duration_ns": MINUTE_NS,
        "covered_ns": MINUTE_NS,
        "method": 1,
        "interface": 1,
        "is_filtered": 0,
        "position": 1,
    }
    assert (second.base_uj, second.cumulative_uj, second.energy_uj) == (7100, 7800, 700)
    assert first.mean_w == 2100e-6 / 60


def test_epochs_domains_and_hosts_stay_apart() -> None:
    shelf = Shelf()
    windows = [
        a_window(0, 5, 10),
        a_window(10, 5, 5, epoch=2),
        a_window(0, 1, 9, device=CPU, domain=Domain.PACKAGE),
        a_window(0, 1, 9, device=CPU, domain=Domain.CORE, flags=Flag(0)),
    ]
    blocks = [shelf.put(windows), shelf.put(windows, HOST_B)]
    total = rows(add_up(join([rows_of(block, MINUTE_NS) for block in blocks])))
    assert len(total) == 8
    assert [row.host for row in total] == [0] * 4 + [1] * 4
    assert sum(row.is_root for row in total) == 6


def test_other_sections_and_empty_blocks_give_no_rows() -> None:
    second = HostSecond(T0_NS, 0, NS, 1, 0, 0, 0, None, None, None, None, None, 1, 1, 0)
    table = tables_from_records(Records(host_seconds=(second,)))[SectionKind.HOST_SECOND]
    block = Block(7, SectionKind.HOST_SECOND, np.zeros(1, int), np.zeros(0, int), table)
    intervals = Intervals(MINUTE_NS)
    intervals.add([block])
    assert (len(intervals), intervals.read, intervals.done) == (0, 7, 7)
    assert not len(intervals.close(FAR, ahead_unix_ns=FAR))


def test_the_longest_window_overflows_nothing() -> None:
    window = a_window(0, 1 << 62, 1 << 62, duration_s=400 * 86_400, coverage_ppm=999_999)
    (row,) = rows(add_up(rows_of(Shelf().put([window]), MINUTE_NS)))
    assert row.duration_ns == 400 * 86_400 * NS
    assert row.covered_ns == round(row.duration_ns * 0.999999)
    assert row.end_unix_ns > row.start_unix_ns


RUNS = st.lists(st.integers(0, 1 << 40), min_size=1, max_size=40)


@given(RUNS, st.randoms(use_true_random=False), st.integers(1, 5))
def test_order_and_cuts_change_nothing(
    energies_uj: list[int], rng: random.Random, parts: int
) -> None:
    windows = a_run(energies_uj, base_uj=77)
    whole = add_up(rows_of(Shelf().put(windows), MINUTE_NS))
    shuffled: list[DeviceWindow] = list(windows)
    rng.shuffle(shuffled)
    shelf, waiting = Shelf(), empty()
    for part in range(parts):
        if some := shuffled[part::parts]:
            waiting = add_up(join([waiting, rows_of(shelf.put(some), MINUTE_NS)]))
    whole.array["position"] = waiting.array["position"] = 0
    assert waiting.array.tolist() == whole.array.tolist()
    assert sum(row.energy_uj for row in rows(waiting)) == sum(energies_uj)


def test_only_intervals_that_ended_are_closed() -> None:
    intervals, shelf = Intervals(MINUTE_NS), Shelf()
    intervals.add([shelf.put(a_run([1] * 6)), shelf.put(a_run([1] * 3, at_s=60))])
    assert intervals.done == 0
    (row,) = rows(intervals.close(T0_NS + MINUTE_NS, ahead_unix_ns=FAR))
    assert row.energy_uj == 6
    assert (len(intervals), intervals.read, intervals.done) == (1, 2, 1)
    assert len(intervals.close_all()) == 1
    assert intervals.done == 2


def test_a_clock_that_runs_ahead_holds_nobody() -> None:
    intervals, shelf = Intervals(MINUTE_NS), Shelf()
    intervals.add([shelf.put(a_run([5], at_s=86_400), HOST_B), shelf.put(a_run([1] * 6))])
    closed = intervals.close(T0_NS + MINUTE_NS, ahead_unix_ns=T0_NS + 3 * MINUTE_NS)
    assert sorted(row.energy_uj for row in rows(closed)) == [5, 6]
    assert intervals.done == 2


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 1000)), min_size=1, max_size=30),
    st.integers(0, 30),
    st.integers(0, 8),
)
def test_a_successor_takes_up_exactly_what_is_left(
    late: list[tuple[int, int]], stop_after: int, minutes: int
) -> None:
    """Windows in any order, each a block; stop after any of them; nothing lost, nothing twice."""
    shelf = Shelf()
    for at, energy_uj in late:
        shelf.put([replace(a_window(at * 10, energy_uj, 10**9), device=GPU)])
    before = Intervals(MINUTE_NS)
    before.add(shelf.blocks[:stop_after])
    sent = rows(before.close(T0_NS + minutes * MINUTE_NS, ahead_unix_ns=FAR))
    after = Intervals(
        MINUTE_NS, done=before.done, read=before.read, closed_unix_ns=before.closed_unix_ns
    )
    after.add([block for block in shelf.blocks if block.position > before.done])
    assert not after.is_resuming
    sent += rows(after.close_all())
    assert sum(row.energy_uj for row in sent) == sum(energy_uj for _, energy_uj in late)
