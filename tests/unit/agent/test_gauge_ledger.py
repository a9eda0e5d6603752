from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.gauge_ledger import GaugeLedger
from chipwatt.agent.timing import Timing
from chipwatt.core.model import GapReason

MS = 1_000_000
S = 1_000 * MS
MAX_MW = 400_000


def ledger(refresh_ns: int = 100 * MS) -> GaugeLedger:
    timing = Timing(counter=False, stamped=True, refresh_ns=refresh_ns)
    return GaugeLedger(timing, max_power_mw=MAX_MW, unix_offset_ns=1_700_000_000 * S)


@given(st.lists(st.tuples(st.integers(1, S), st.integers(0, MAX_MW)), min_size=2, max_size=100))
def test_cumulative_is_the_floor_of_the_exact_trapezoid(samples: list[tuple[int, int]]) -> None:
    line, now_ns, points = ledger(), 0, []
    for since_ns, power_mw in samples:
        now_ns += since_ns
        line.observe(now_ns, power_mw)
        points.append((now_ns, power_mw))
    exact = sum(
        Fraction((p0 + p1) * (t1 - t0), 2_000_000) for (t0, p0), (t1, p1) in pairwise(points)
    )
    assert line.cumulative_uj[0] == 0
    assert line.cumulative_uj[-1] == exact.__floor__()
    assert not line.breaks


def test_impossible_powers_and_old_stamps_are_no_samples() -> None:
    line = ledger()
    for at_ms, power_mw in ((0, 100), (100, -1), (200, MAX_MW + 1), (300, 100), (300, 900)):
        line.observe(at_ms * MS, power_mw)
    assert list(line.values_mw) == [100, 100]
    assert (line.dropped, line.repeated) == (2, 1)
    assert line.cumulative_uj[-1] == 30_000


def test_short_silence_is_bridged_but_has_no_course() -> None:
    line = ledger()
    line.observe(0, 1000)
    line.observe(10 * S, 3000)
    (leap,) = line.breaks
    assert (leap.reason, leap.lower_uj, leap.upper_uj) == (None, 20_000_000, 20_000_000)


def test_hole_beyond_the_bridge_is_a_gap_in_the_same_epoch() -> None:
    line = ledger()
    line.observe(0, 1000)
    line.observe(31 * S, 3000)
    (gap,) = line.breaks
    assert (gap.reason, gap.epoch) == (GapReason.SENSOR_STALLED, line.first_epoch)
    assert (gap.lower_uj, gap.upper_uj) == (0, MAX_MW * 31_000)
    assert list(line.cumulative_uj) == [0, 0]


def test_slow_gauge_bridges_longer() -> None:
    line = ledger(refresh_ns=6 * S)
    line.observe(0, 1000)
    line.observe(60 * S, 1000)
    (leap,) = line.breaks
    assert (leap.reason, leap.upper_uj) == (None, 60_000_000)


def test_restart_of_the_agent_opens_an_epoch_at_zero() -> None:
    line = ledger()
    line.resume(7, 5_000, S)
    line.observe(3 * S, 2000)
    line.observe(4 * S, 2000)
    (gap,) = line.breaks
    assert (gap.reason, gap.lower_uj, gap.upper_uj) == (GapReason.AGENT_DOWN, 0, MAX_MW * 2_000)
    assert gap.epoch == line.epoch > 7
    assert list(line.cumulative_uj) == [5_000, 0, 2_000_000]


def test_lost_gauge_goes_on_after_a_gap() -> None:
    line = ledger()
    line.observe(0, 1000)
    line.lost(GapReason.PERMISSION_LOST)
    line.observe(S, 1000)
    assert [b.reason for b in line.breaks] == [GapReason.PERMISSION_LOST]
    assert line.epoch == line.first_epoch


def test_a_memory_in_doubt_opens_an_epoch_behind_a_gap() -> None:
    line = ledger()
    line.resume(7, 1000, 100 * S)
    line.distrust()
    line.observe(110 * S, 5000)
    (gap,) = line.breaks
    assert (gap.reason, gap.lower_uj) == (GapReason.SPOOL_DAMAGED, 0)
    assert gap.upper_uj >= 5000 * 10_000
    assert line.epoch > 7
