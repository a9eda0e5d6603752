from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.counter_ledger import CounterLedger
from chipwatt.agent.timing import Timing
from chipwatt.core.model import Flag, GapReason
from fakes.chip import Chip

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


def test_drop_that_no_wrap_explains_is_a_reset() -> None:
    line = ledger(RAPL_MODULUS_UJ)
    line.observe(0, 100_000_000_000)
    line.observe(10 * MS, 100_001_000_000)
    line.observe(20 * MS, 7)
    (gap,) = line.breaks
    assert (gap.last_ns, gap.first_ns, gap.reason) == (10 * MS, 20 * MS, GapReason.COUNTER_RESET)
    assert gap.epoch == line.epoch == 1_700_000_001
    assert gap.lower_uj == 0
    assert gap.upper_uj == MAX_MW * (10 + 10) * MS // 1_000_000
    assert edges(line)[-1] == (20 * MS, 7)


def test_counter_without_modulus_never_wraps() -> None:
    line = ledger()
    line.observe(0, 5)
    line.observe(10 * MS, 4)
    assert [b.reason for b in line.breaks] == [GapReason.COUNTER_RESET]


def test_late_wrap_after_standing_still_is_a_reset() -> None:
    line = ledger(RAPL_MODULUS_UJ)
    for at_s in range(600):
        line.observe(at_s * S // 10, 100_000_000_000)
    line.observe(60 * S, 5)
    assert [b.reason for b in line.breaks] == [GapReason.COUNTER_RESET]


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
    for at_ms in (10, 20, 30, 40):
        line.observe(at_ms * MS, 10**12 + at_ms)
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
    assert [b.reason for b in line.breaks] == [GapReason.COUNTER_RESET]


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


@dataclass
class Books:
    """What a ledger's edges and breaks say in total."""

    known_uj: int = 0
    lower_uj: int = 0
    upper_uj: int = 0
    epochs: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, line: CounterLedger) -> Books:
        books = cls()
        ahead = {b.first_ns: b for b in line.breaks}
        pairs = edges(line)
        for (_, before_uj), (to_ns, after_uj) in pairwise(pairs):
            if to_ns in ahead and ahead[to_ns].reason is not None:
                books.lower_uj += ahead[to_ns].lower_uj
                books.upper_uj += ahead[to_ns].upper_uj
                books.epochs.append(ahead[to_ns].epoch)
            else:
                assert after_uj >= before_uj
                books.known_uj += after_uj - before_uj
        return books


actions = st.lists(
    st.tuples(
        st.sampled_from(["read", "read", "read", "read", "wait", "reset", "lost", "glitch"]),
        st.integers(1, 2_000),
    ),
    max_size=120,
)


@given(
    actions,
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 300)), min_size=1, max_size=5),
    st.sampled_from([0, RAPL_MODULUS_UJ, 2_000_000_000]),
    st.integers(10**11, 2 * 10**11),
    st.sampled_from([1, 5, 20]),
)
def test_truth_lies_in_the_bounds_whatever_happens(
    script: list[tuple[str, int]],
    trace: list[tuple[int, int]],
    modulus_uj: int,
    start_uj: int,
    refresh_ms: int,
) -> None:
    refresh_ns = refresh_ms * MS
    steps = [(ms * MS, watts * 1000) for ms, watts in trace]
    chip = Chip(steps, refresh_ns=refresh_ns, modulus_uj=modulus_uj, start_uj=start_uj)
    line = ledger(modulus_uj, refresh_ns)
    now_ns = 3 * S
    line.observe(now_ns, chip.counter_uj(now_ns))
    first_ns = chip.updated_ns(now_ns)
    last_ns = first_ns
    resets = 0 if modulus_uj == 2_000_000_000 else 1
    for action, number in script:
        now_ns += number % 30 * MS + 1
        if action == "wait":
            now_ns += number * 10 * MS
        elif action == "reset" and resets:
            # A second one, or one of a counter that wraps within the script, can hide.
            resets -= 1
            chip.reset(now_ns, 0)
        elif action == "lost":
            line.lost(GapReason.SENSOR_LOST)
        elif action == "glitch":
            line.observe(now_ns, 2**47 + number)
        else:
            line.observe(now_ns, chip.counter_uj(now_ns))
            last_ns = chip.updated_ns(now_ns)
    books = Books.of(line)
    truth_uj = chip.energy_uj(last_ns) - chip.energy_uj(first_ns)
    assert books.known_uj + books.lower_uj <= truth_uj <= books.known_uj + books.upper_uj
    assert books.epochs == sorted(set(books.epochs))
