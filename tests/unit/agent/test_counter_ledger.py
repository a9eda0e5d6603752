from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.counter_ledger import CounterLedger
from chipwatt.agent.timing import Timing
from chipwatt.core.model import Flag, GapReason

MS = 1_000_000
S = 1_000 * MS
UNIX_NS = 1_700_000_000 * S
MAX_MW = 400_000
RAPL_MODULUS_UJ = 262_143_328_850


def ledger(modulus_uj: int = 0, refresh_ns: int = MS, period_ns: int = 10 * MS) -> CounterLedger:
    timing = Timing(counter=True, refresh_ns=refresh_ns, period_ns=period_ns)
    return CounterLedger(timing, max_power_mw=MAX_MW, unix_offset_ns=UNIX_NS, modulus_uj=modulus_uj)


def edges(line: CounterLedger) -> list[tuple[int, int]]:
    return list(zip(line.times_ns, line.cumulative_uj, strict=True))


def test_cumulative_is_the_counter_itself() -> None:
    line = ledger()
    line.observe(5 * MS, 1_000_000)
    line.observe(15 * MS, 1_000_700)
    assert edges(line) == [(5 * MS, 1_000_000), (15 * MS, 1_000_700)]
    assert line.epoch == 1_700_000_000


def test_repeats_are_counted_and_are_no_edges() -> None:
    line = ledger()
    for at_ms, value in ((0, 100), (10, 100), (20, 200), (20, 300), (19, 250)):
        line.observe(at_ms * MS, value)
    assert edges(line) == [(0, 100), (20 * MS, 200)]
    assert (line.got, line.repeated, line.dropped) == (2, 3, 0)


@given(st.lists(st.integers(0, 1_000_000), min_size=1, max_size=200), st.integers(0, 10**12))
def test_wraps_keep_every_microjoule(rises: list[int], start_uj: int) -> None:
    modulus_uj = 100_000_000
    line, total_uj = ledger(modulus_uj), start_uj
    line.observe(0, total_uj % modulus_uj)
    for index, rise in enumerate(rises, 1):
        total_uj += rise
        line.observe(index * 10 * MS, total_uj % modulus_uj)
    line.hold()
    assert not line.breaks
    assert line.cumulative_uj[0] == start_uj % modulus_uj
    assert line.cumulative_uj[-1] - line.cumulative_uj[0] == sum(rises)
    assert list(line.cumulative_uj) == sorted(line.cumulative_uj)


def test_wraps_that_the_polling_is_too_slow_to_count_are_a_gap() -> None:
    line = ledger(modulus_uj=1_000_000)
    line.observe(0, 100)
    line.observe(10 * MS, 200)
    (gap,) = line.breaks
    assert (gap.lower_uj, gap.upper_uj) == (100, 100 + 23 * 1_000_000)


def test_drop_that_no_wrap_explains_is_a_reset() -> None:
    line = ledger(RAPL_MODULUS_UJ)
    line.observe(0, 100_000_000_000)
    line.observe(10 * MS, 100_001_000_000)
    for at_ms, value in ((20, 7), (30, 7), (40, 20)):
        line.observe(at_ms * MS, value)
    (gap,) = line.breaks
    assert (gap.last_ns, gap.first_ns, gap.reason) == (10 * MS, 20 * MS, GapReason.COUNTER_RESET)
    assert gap.epoch == line.epoch == 1_700_000_001
    assert gap.lower_uj == 0
    assert gap.upper_uj == MAX_MW * (10 + 10) * MS // 1_000_000
    assert edges(line)[-2:] == [(20 * MS, 7), (40 * MS, 20)]
    assert line.dropped == 0


def test_counter_without_modulus_never_wraps() -> None:
    line = ledger()
    line.observe(0, 5)
    line.observe(10 * MS, 4)
    line.hold()
    assert [b.reason for b in line.breaks] == [GapReason.COUNTER_RESET]


def test_late_wrap_after_standing_still_is_a_reset() -> None:
    line = ledger(RAPL_MODULUS_UJ)
    for at_s in range(600):
        line.observe(at_s * S, 100_000_000_000)
    line.observe(600 * S, 5)
    line.hold()
    assert [b.reason for b in line.breaks] == [GapReason.COUNTER_RESET]


def test_a_value_that_once_falls_is_dropped_and_invents_nothing() -> None:
    line = ledger()
    for at_ms, value in ((0, 10**9), (10, 10**9 + 100), (20, 10**9 - 10**6), (30, 10**9 + 300)):
        line.observe(at_ms * MS, value)
    assert not line.breaks
    assert line.dropped == 1
    assert edges(line)[-1] == (30 * MS, 10**9 + 300)


def test_impossible_rise_is_dropped_and_the_ledger_goes_on() -> None:
    line = ledger()
    for at_ms, value in ((0, 100), (10, 2**47), (20, 300), (30, -1), (40, 2**63 - 16), (50, 500)):
        line.observe(at_ms * MS, value)
    assert [c for _, c in edges(line)] == [100, 300, 500]
    assert line.dropped == 3
    assert not line.breaks


def test_sentinel_that_stays_is_never_believed() -> None:
    line = ledger()
    line.observe(0, 100)
    for at_ms in range(10, 1000, 10):
        line.observe(at_ms * MS, 2**47)
    assert edges(line) == [(0, 100)]
    assert line.dropped == 99


def test_counter_that_lives_on_at_an_impossible_level_opens_an_epoch() -> None:
    line = ledger()
    line.observe(0, 100)
    for at_ms in (10, 15, 20, 25, 30, 40):
        line.observe(at_ms * MS, 10**12 + at_ms // 10)
    (gap,) = line.breaks
    assert (gap.last_ns, gap.first_ns, gap.reason) == (0, 10 * MS, GapReason.IMPLAUSIBLE)
    assert [t for t, _ in edges(line)] == [0, 10 * MS, 20 * MS, 30 * MS, 40 * MS]


@given(st.integers(1, 4_000), st.integers(0, MAX_MW), st.integers(0, RAPL_MODULUS_UJ - 1))
def test_long_silence_is_exact_or_a_gap_around_the_truth(
    silent_s: int, power_mw: int, start_uj: int
) -> None:
    line = ledger(RAPL_MODULUS_UJ)
    truth_uj = power_mw * silent_s * 1000
    line.observe(0, start_uj)
    line.observe(silent_s * S, (start_uj + truth_uj) % RAPL_MODULUS_UJ)
    if not line.breaks:
        assert line.cumulative_uj[-1] - line.cumulative_uj[0] == truth_uj
        return
    (ahead,) = line.breaks
    assert ahead.lower_uj <= truth_uj <= ahead.upper_uj
    if ahead.reason is None:
        assert ahead.lower_uj == ahead.upper_uj
    else:
        assert ahead.epoch == line.epoch > 1_700_000_000
        assert (truth_uj - ahead.lower_uj) % RAPL_MODULUS_UJ == 0
    if MAX_MW * (silent_s * 1000 + 100) < RAPL_MODULUS_UJ:
        assert ahead.reason is None


def test_resumption_goes_on_in_the_same_epoch() -> None:
    line = ledger(RAPL_MODULUS_UJ)
    line.resume(7, 3 * RAPL_MODULUS_UJ - 10, 100 * S)
    line.observe(160 * S, 90)
    (leap,) = line.breaks
    assert (leap.reason, leap.lower_uj, leap.upper_uj, leap.flags) == (None, 100, 100, Flag.RESUMED)
    assert edges(line) == [(100 * S, 3 * RAPL_MODULUS_UJ - 10), (160 * S, 3 * RAPL_MODULUS_UJ + 90)]
    assert line.epoch == 7


def test_losing_a_sensor_before_its_first_reading_keeps_the_memory() -> None:
    line = ledger()
    line.resume(7, 1000, 100 * S)
    line.lost(GapReason.SENSOR_LOST)
    line.observe(160 * S, 1090)
    (leap,) = line.breaks
    assert (leap.reason, leap.upper_uj, leap.flags) == (None, 90, Flag.RESUMED)


def test_silence_begins_at_the_last_answer_though_it_was_a_repeat() -> None:
    line = ledger()
    for at_s, value in ((0, 100), (1, 100), (2, 100), (9, 300)):
        line.observe(at_s * S, value)
    (leap,) = line.breaks
    assert (leap.last_ns, leap.first_ns, leap.upper_uj) == (2 * S, 9 * S, 200)


def test_resumption_after_too_long_is_a_gap() -> None:
    line = ledger(RAPL_MODULUS_UJ)
    line.resume(7, 1000, 100 * S)
    line.observe(2_100 * S, 5000)
    (gap,) = line.breaks
    assert (gap.reason, gap.lower_uj) == (GapReason.AGENT_DOWN, 4000)
    assert gap.upper_uj == 4000 + 3 * RAPL_MODULUS_UJ <= MAX_MW * 2_000_050
    assert gap.epoch > 7


def test_resumption_of_a_counter_that_was_reset() -> None:
    line = ledger()
    line.resume(7, 1000, 100 * S)
    line.observe(101 * S, 999)
    assert [b.reason for b in line.breaks] == [GapReason.AGENT_DOWN]


def test_lost_sensor_that_may_have_started_anew_leaves_a_gap() -> None:
    line = ledger()
    line.observe(0, 1_000)
    line.lost(GapReason.SENSOR_LOST)
    line.observe(5 * S, 500_000)
    (gap,) = line.breaks
    assert (gap.reason, gap.lower_uj) == (GapReason.SENSOR_LOST, 0)
    assert gap.upper_uj >= MAX_MW * 5_000


def test_lost_sensor_that_cannot_have_started_anew_goes_on() -> None:
    line = ledger()
    line.observe(0, 10**12)
    line.lost(GapReason.SENSOR_LOST)
    line.observe(5 * S, 10**12 + 500_000)
    (leap,) = line.breaks
    assert (leap.reason, leap.upper_uj) == (None, 500_000)


def test_sentinel_after_an_absence_is_not_believed_either() -> None:
    line = ledger()
    line.observe(0, 10**12)
    line.lost(GapReason.SENSOR_LOST)
    for at_s in (1, 2, 3, 4):
        line.observe(at_s * S, 2**47)
    line.observe(5 * S, 10**12 + 500_000)
    (leap,) = line.breaks
    assert (leap.reason, leap.upper_uj) == (None, 500_000)
    assert line.dropped == 4


def stalled_for_three_seconds() -> CounterLedger:
    line = ledger(refresh_ns=MS)
    for at_ms in range(0, 1000, 10):
        line.observe(at_ms * MS, at_ms * 100)
    for at_ms in range(1000, 4000, 10):
        line.observe(at_ms * MS, 99_000)
    return line


def test_what_a_counter_owes_after_a_stall_has_no_course() -> None:
    line = stalled_for_three_seconds()
    owed_uj = MAX_MW * 1000  # a second of its largest power
    line.observe(4000 * MS, 99_000 + owed_uj)
    (leap,) = line.breaks
    assert (leap.reason, leap.lower_uj, leap.upper_uj) == (None, owed_uj, owed_uj)
    assert leap.flags == Flag.SUSPECT
    assert list(line.holes) == [(990 * MS, 3990 * MS)]
    assert edges(line)[-1] == (4000 * MS, 99_000 + owed_uj)


def test_a_counter_that_was_idle_goes_on_as_ever() -> None:
    line = stalled_for_three_seconds()
    line.observe(4000 * MS, 99_000 + MAX_MW * 10)
    assert not line.breaks
    assert edges(line)[-1] == (4000 * MS, 99_000 + MAX_MW * 10)


def test_holes_inside_a_stall_are_not_counted_twice() -> None:
    line = ledger(refresh_ns=MS)
    for at_ms in range(0, 1000, 10):
        line.observe(at_ms * MS, at_ms * 100)
    for at_s in (2, 3, 4):  # answers a second apart, all the same
        line.observe(at_s * S, 99_000)
    line.hold()
    assert list(line.holes) == [(990 * MS, 4 * S)]
    line.observe(5 * S, 99_000)
    line.hold()
    assert list(line.holes) == [(990 * MS, 4 * S), (4 * S, 5 * S)]


@pytest.mark.parametrize("wraps", [0, 1, 3])
def test_what_followed_a_memory_in_doubt_is_a_gap_up_to_what_was_counted(wraps: int) -> None:
    line = ledger(RAPL_MODULUS_UJ)
    line.resume(7, 1000, 100 * S)
    line.distrust()
    now_ns = 130 * S + wraps * 700 * S
    line.observe(now_ns, 5000)
    (gap,) = line.breaks
    assert (gap.reason, gap.lower_uj) == (GapReason.SPOOL_DAMAGED, 0)
    assert gap.upper_uj >= 4000 + wraps * RAPL_MODULUS_UJ
    assert wraps or gap.upper_uj == 4000
    assert gap.epoch == line.epoch > 7
    line.observe(now_ns + S, 6000)
    assert list(line.cumulative_uj)[-2:] == [5000, 6000]
