from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from chipwatt.agent.profiler.reducer import Memory, Reducer
from chipwatt.agent.sensing.contract import Quantity
from chipwatt.core.model import DeviceKind, Domain, Flag, GapReason, Method, Statistic
from chipwatt.core.records import Records, Throttle
from fakes.books import books, seconds, sensor
from fakes.chip import Chip, poll

MS = 1_000_000
S = 1_000 * MS
UNIX_NS = 1_700_000_000 * S
CPU = sensor().device


def drain(reducer: Reducer, now_ns: int) -> list[Records]:
    while reducer.step(now_ns):
        pass
    return reducer.take()


def one_counter(**options: int) -> Reducer:
    reducer = Reducer([sensor(**options)], mono_ns=0, unix_ns=UNIX_NS)  # type: ignore[arg-type]
    reducer.measured(0, refresh_ns=MS, averaging_ns=0, period_ns=10 * MS, rate_reduced=False)
    return reducer


def test_windows_close_one_refresh_late_and_carry_their_origin() -> None:
    reducer = one_counter()
    chip = Chip([(S, 100_000)], start_uj=5_000_000)
    poll(chip, lambda at, value: reducer.observe(0, at, value), 0, 10 * S, 10 * MS)
    reducer.due(0, 1000)
    assert drain(reducer, 10 * S) == []
    poll(chip, lambda at, value: reducer.observe(0, at, value), 10 * S, 10 * S + 1, 10 * MS)
    (batch,) = drain(reducer, 10 * S + MS)
    (window,) = batch.windows
    assert (window.start_unix_ns, window.start_mono_ns) == (UNIX_NS, 0)
    assert window.duration_ns == 10 * S
    assert (window.energy_uj, window.cumulative_uj) == (10**9, 10**9 + 5_000_000)
    assert window.provenance.method is Method.COUNTER
    assert (window.provenance.expected, window.provenance.got) == (1000, 1000)
    assert window.provenance.coverage_ppm == 1_000_000
    assert window.flags == Flag.EPOCH_START | Flag.ROOT | Flag.PEAK_BEYOND_SENSOR
    profile = window.profile
    assert (profile.mean_mw, profile.min_mw, profile.max_mw) == (100_000,) * 3
    assert (profile.peak_10ms_mw, profile.peak_100ms_mw, profile.peak_1s_mw) == (
        None,
        100_000,
        100_000,
    )
    assert (profile.rise_100ms_mw_per_s, profile.fall_1s_mw_per_s) == (0, 0)
    assert sum(profile.histogram.counts_ms) == 10_000
    assert len(batch.host_seconds) == 10
    assert {s.cpu_mj for s in batch.host_seconds} == {100_000}
    assert {s.cpu_peak_mw for s in batch.host_seconds} == {100_000}


def test_energy_at_a_windows_edge_is_interpolated() -> None:
    reducer = one_counter(refresh_ns=S)
    reducer.measured(0, refresh_ns=600 * MS, averaging_ns=0, period_ns=600 * MS, rate_reduced=False)
    for index in range(20):
        reducer.observe(0, index * 600 * MS, index * 60_000_001)
    (window,) = drain(reducer, 11 * S)[0].windows
    assert window.energy_uj == 16 * 60_000_001 + 60_000_001 * 400 // 600


def test_silent_sensor_does_not_hold_the_others_back() -> None:
    reducer = Reducer([sensor(0), sensor(1)], mono_ns=0, unix_ns=UNIX_NS)
    for at_ms in range(0, 10_100, 10):
        reducer.observe(0, at_ms * MS, at_ms * 1000)
        if at_ms < 5_000:
            reducer.observe(1, at_ms * MS, at_ms * 1000)
    assert drain(reducer, 10 * S + 100 * MS) == []
    batches = drain(reducer, 12 * S)
    line = books(batches)
    assert line[sensor(0).device].windows[0].duration_ns == 10 * S
    (cut,) = line[sensor(1).device].windows
    assert (cut.start_mono_ns, cut.duration_ns) == (0, 4990 * MS)
    assert [s.heard for s in seconds(batches)] == [2] * 5 + [1] * 5
    assert seconds(batches)[7].flags & Flag.PARTIAL
    for at_ms in range(12_500, 20_020, 10):
        reducer.observe(0, at_ms * MS, at_ms * 1000)
        reducer.observe(1, at_ms * MS, at_ms * 1000)
    batches += drain(reducer, 21 * S)
    long = books(batches)[sensor(1).device].windows[1]
    assert (long.start_mono_ns, long.duration_ns) == (4990 * MS, 15_010 * MS)
    assert long.energy_uj == 15_010_000
    assert long.flags & Flag.PARTIAL


def test_part_that_stands_still_ships_empty_windows_and_is_suspect() -> None:
    resting = replace(sensor(1, root=False), domain=Domain.UNCORE)
    reducer = Reducer([sensor(0), resting], mono_ns=0, unix_ns=UNIX_NS)
    for at_ms in range(0, 24_000, 10):
        reducer.observe(0, at_ms * MS, at_ms * 1000)
        reducer.observe(1, at_ms * MS, 777)
        drain_now = at_ms % 100 == 0
        if drain_now:
            while reducer.step(at_ms * MS):
                pass
    line = books(reducer.take())
    still = line[resting.device].windows
    assert [w.energy_uj for w in still] == [0, 0]
    assert all(w.flags & Flag.SUSPECT for w in still)
    assert not any(w.flags & (Flag.SUSPECT | Flag.PARTIAL) for w in line[CPU].windows)
    assert still[0].profile.histogram.zero_ms == 10_000
    assert still[1].provenance.coverage_ppm == 1_000_000
    assert still[1].provenance.repeated == 1000


def test_reset_cuts_the_window_and_leaves_a_gap() -> None:
    reducer = one_counter()
    for at_ms in range(0, 4_000, 10):
        reducer.observe(0, at_ms * MS, 10**9 + at_ms * 1000)
    for at_ms in range(4_000, 10_010, 10):
        reducer.observe(0, at_ms * MS, at_ms * 1000 - 3_999_000)
    line = books(drain(reducer, 11 * S))[CPU]
    before, after = line.windows
    (gap,) = line.gaps
    assert (before.duration_ns, gap.duration_ns) == (3990 * MS, 10 * MS)
    assert gap.reason is GapReason.COUNTER_RESET
    assert after.epoch > before.epoch
    assert before.flags & after.flags & Flag.EPOCH_START
    assert after.cumulative_uj == 6_001_000


def test_memory_is_of_what_was_handed_out() -> None:
    reducer = one_counter()
    for at_ms in range(0, 25_010, 10):
        reducer.observe(0, at_ms * MS, at_ms * 1000)
    while reducer.step(25 * S):
        pass
    assert reducer.memory() == []
    reducer.take()
    (memory,) = reducer.memory()
    assert (memory.cumulative_uj, memory.end_mono_ns) == (20_000_000, 20 * S)
    after = Reducer([sensor()], mono_ns=60 * S, unix_ns=UNIX_NS + 60 * S, memory=[memory])
    for at_ms in range(60_005, 70_020, 10):
        after.observe(0, at_ms * MS, at_ms * 1000)
    (window,) = books(drain(after, 71 * S))[CPU].windows
    assert (window.start_mono_ns, window.duration_ns) == (20 * S, 50 * S)
    assert (window.epoch, window.energy_uj) == (memory.epoch, 50_000_000)
    assert window.start_unix_ns == UNIX_NS + 20 * S
    assert window.flags & Flag.RESUMED
    assert window.flags & Flag.PARTIAL
    assert not window.flags & Flag.EPOCH_START


def test_a_single_reading_is_remembered_though_nothing_is_handed_out() -> None:
    reducer = one_counter()
    reducer.observe(0, 400 * MS, 123)
    assert reducer.finish(500 * MS) == []
    (memory,) = reducer.memory()
    assert (memory.cumulative_uj, memory.end_mono_ns) == (123, 400 * MS)


def test_memory_of_an_absent_sensor_is_kept() -> None:
    memory = Memory(sensor(5).device, Domain.PACKAGE, Statistic.ENERGY, 3, 4, 5)
    reducer = Reducer([sensor(0)], mono_ns=0, unix_ns=UNIX_NS, memory=[memory])
    assert reducer.memory() == [memory]


def test_finish_cuts_at_the_last_reading_and_remembers_it() -> None:
    reducer = one_counter()
    for at_ms in range(0, 13_461, 10):
        reducer.observe(0, at_ms * MS, at_ms * 1000)
    batches = reducer.finish(13_500 * MS)
    line = books(batches)[CPU]
    assert [w.duration_ns for w in line.windows] == [10 * S, 3460 * MS]
    assert line.known_uj == 13_460_000
    assert sum(s.cpu_mj for s in seconds(batches)) == 13_460
    assert seconds(batches)[-1].duration_ns == 460 * MS
    (memory,) = reducer.memory()
    assert (memory.cumulative_uj, memory.end_mono_ns) == (13_460_000, 13_460 * MS)


def test_throttled_time_is_differenced() -> None:
    reducer = one_counter()
    for at_s in range(21):
        for at_ms in range(at_s * 1000, at_s * 1000 + 1000, 10):
            reducer.observe(0, at_ms * MS, at_ms * 1000)
        while reducer.step(at_s * S):
            pass
        reducer.throttled(0, Throttle(limit_mw=300_000, power_ms=7_000 + at_s * 100))
    reducer.step(21 * S)
    first, second = books(drain(reducer, 21 * S))[CPU].windows
    assert (first.throttle.limit_mw, first.throttle.thermal_ms) == (300_000, None)
    assert (first.throttle.power_ms, second.throttle.power_ms) == (900, 1000)


def test_clock_step_is_marked_and_energy_unchanged() -> None:
    reducer = one_counter()
    for at_ms in range(0, 30_000, 10):
        reducer.observe(0, at_ms * MS, at_ms * 1000)
        if at_ms % 500 == 0:
            while reducer.step(at_ms * MS):
                pass
            step_ns = 3_600 * S if at_ms >= 13_500 else 0
            reducer.clock(at_ms * MS, UNIX_NS + at_ms * MS + step_ns)
    batches = reducer.finish(30 * S)
    line = books(batches)[CPU]
    assert line.known_uj == 29_990_000
    assert [bool(w.flags & Flag.CLOCK_STEPPED) for w in line.windows] == [False, True, False]
    assert line.windows[2].start_unix_ns == UNIX_NS + 3_620 * S
    assert sum(s.cpu_mj for s in seconds(batches)) == 29_990


def test_gauge_of_six_seconds_keeps_its_trapezoid_and_its_range() -> None:
    gauge = sensor(0, Quantity.POWER_MW, kind=DeviceKind.GPU, refresh_ns=0, stamped=True)
    reducer = Reducer([gauge], mono_ns=0, unix_ns=UNIX_NS)
    powers = [100_000, 350_000, 200_000, 330_000, 120_000, 250_000]
    for index, power_mw in enumerate(powers):
        reducer.observe(0, index * 6 * S, power_mw)
        while reducer.step(index * 6 * S):
            pass
    batches = reducer.finish(30 * S)
    line = books(batches)[gauge.device]
    assert line.known_uj == sum((a + b) * 3000 for a, b in pairwise(powers))
    assert line.windows[0].profile.max_mw == 350_000
    assert line.windows[0].profile.min_mw == 100_000
    assert all(w.flags & Flag.INTEGRATED for w in line.windows)
    assert all(w.flags & Flag.PEAK_BEYOND_SENSOR for w in line.windows)
    assert all(w.profile.peak_1s_mw is None for w in line.windows)
    assert sum(s.gpu_mj for s in seconds(batches)) == line.known_uj // 1000
    assert {s.heard for s in seconds(batches)} == {1}


def test_estimated_sensor_says_so_and_only_roots_are_added_up() -> None:
    gauge = sensor(0, Quantity.POWER_MW, root=False, flags=Flag.ESTIMATED, refresh_ns=100 * MS)
    reducer = Reducer([gauge], mono_ns=0, unix_ns=UNIX_NS)
    for at_ms in range(0, 10_200, 100):
        reducer.observe(0, at_ms * MS, 50_000)
    (batch,) = drain(reducer, 11 * S)
    assert batch.host_seconds == ()
    assert batch.windows[0].provenance.method is Method.ESTIMATED
    assert batch.windows[0].flags & (Flag.ESTIMATED | Flag.ROOT | Flag.INTEGRATED) == Flag.ESTIMATED


def test_lost_sensor_opens_a_gap_until_it_is_seen_again() -> None:
    reducer = one_counter()
    for at_ms in range(0, 2_000, 10):
        reducer.observe(0, at_ms * MS, 10**6 + at_ms * 1000)
    reducer.lost(0, 3 * S, GapReason.PERMISSION_LOST)
    for at_ms in range(9_000, 10_010, 10):
        reducer.observe(0, at_ms * MS, 10**6 + at_ms * 1000)
    line = books(drain(reducer, 11 * S))[CPU]
    (gap,) = line.gaps
    assert (gap.start_mono_ns, gap.duration_ns) == (1990 * MS, 7010 * MS)
    assert gap.reason is GapReason.PERMISSION_LOST
    assert gap.lower_uj <= 7_010_000 <= gap.upper_uj


def test_window_over_a_silence_ends_aligned() -> None:
    reducer = one_counter()
    for from_ms, to_ms in ((0, 5_000), (14_000, 20_010)):
        for at_ms in range(from_ms, to_ms, 10):
            reducer.observe(0, at_ms * MS, at_ms * 1000)
    (window,) = books(drain(reducer, 21 * S))[CPU].windows
    assert (window.start_mono_ns, window.duration_ns) == (0, 20 * S)
    assert window.provenance.coverage_ppm == pytest.approx(549_500, abs=10)


def test_memory_moves_on_with_a_gap_that_was_handed_out() -> None:
    reducer = Reducer([sensor()], mono_ns=0, unix_ns=UNIX_NS, window_ns=10 * S, batch_ns=5 * S)
    for at_ms in range(0, 5_010, 10):
        reducer.observe(0, at_ms * MS, at_ms * 1000 + (10**9 if at_ms < 3_000 else 0))
    (batch,) = drain(reducer, 6 * S)
    (gap,) = batch.gaps
    (memory,) = reducer.memory()
    assert memory.end_mono_ns == gap.start_mono_ns + gap.duration_ns == 3 * S
    assert memory.cumulative_uj == 3_000_000
    assert memory.epoch > batch.windows[0].epoch


def test_batches_may_be_shorter_than_windows() -> None:
    reducer = Reducer([sensor()], mono_ns=0, unix_ns=UNIX_NS, window_ns=10 * S, batch_ns=2 * S)
    for at_ms in range(0, 10_010, 10):
        reducer.observe(0, at_ms * MS, at_ms * 1000)
    batches = drain(reducer, 10 * S + 5 * MS)
    assert [len(b.host_seconds) for b in batches] == [2] * 5
    assert [len(b.windows) for b in batches] == [0, 0, 0, 0, 1]


def test_a_reducer_of_nothing_gives_nothing() -> None:
    reducer = Reducer([], mono_ns=0, unix_ns=UNIX_NS)
    assert drain(reducer, 100 * S) == []
    assert reducer.finish(101 * S) == []


def test_window_of_a_fraction_of_a_second_is_refused() -> None:
    with pytest.raises(ValueError, match="whole number of seconds"):
        Reducer([], mono_ns=0, unix_ns=UNIX_NS, window_ns=S // 2)
