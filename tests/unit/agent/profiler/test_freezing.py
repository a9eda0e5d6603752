"""A counter that freezes: its energy is a gap that holds the truth, or exact once it catches up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chipwatt.agent.counter_ledger import GIVE_UP_NS, CounterLedger
from chipwatt.agent.profiler.closed import Memory
from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.sender import memory_from_plain, memory_to_plain
from chipwatt.agent.timing import Timing
from chipwatt.core.model import DeviceKind, Flag, GapReason
from chipwatt.core.records import Records
from fakes.books import Books, books, sensor

MS = 1_000_000
S = 1_000 * MS
UNIX_NS = 1_700_000_000 * S
MAX_MW = 400_000
MODULUS_UJ = 262_143_328_850
FIRST_UJ = 10**9
GPU = sensor(0, kind=DeviceKind.GPU, modulus_uj=MODULUS_UJ)
OTHER = sensor(1, kind=DeviceKind.GPU)
Course = Callable[[int], int]


class Host:
    """A GPU that may freeze, beside one that moves; polled every 100 ms."""

    def __init__(
        self,
        gpu_uj: Course,
        memory: tuple[Memory, ...] = (),
        now_ns: int = 0,
        *,
        witness_ms: int = 100,
    ) -> None:
        """Let the other one show something new every ``witness_ms``."""
        self.gpu_uj, self.now_ns, self.witness_ms = gpu_uj, now_ns, witness_ms
        self.batches: list[Records] = []
        self.reducer = Reducer(
            [GPU, OTHER], mono_ns=now_ns, unix_ns=UNIX_NS + now_ns, memory=memory
        )
        for position in range(2):
            self.reducer.measured(
                position,
                refresh_ns=(100, witness_ms)[position] * MS,
                averaging_ns=0,
                period_ns=100 * MS,
                rate_reduced=False,
            )

    def run(self, until_ns: int, *, hears_gpu: bool = True) -> None:
        for now_ns in range(self.now_ns, until_ns, 100 * MS):
            if hears_gpu:
                self.reducer.observe(0, now_ns, self.gpu_uj(now_ns) % MODULUS_UJ)
            fresh_ns = now_ns - now_ns % (self.witness_ms * MS)
            self.reducer.observe(1, now_ns, FIRST_UJ + fresh_ns // 10)
            while self.reducer.step(now_ns):
                pass
        self.now_ns = until_ns
        self.batches += self.reducer.take()

    def restart(self) -> None:
        """End this process and begin another with what it remembers."""
        self.batches += self.reducer.finish(self.now_ns)
        plain = [memory_to_plain(entry) for entry in self.reducer.memory()]
        memory = tuple(memory_from_plain(entry) for entry in plain)
        successor = Host(self.gpu_uj, memory, self.now_ns + S, witness_ms=self.witness_ms)
        self.reducer, self.now_ns = successor.reducer, successor.now_ns

    def line(self) -> Books:
        self.batches += self.reducer.finish(self.now_ns)
        found = books(self.batches)[GPU.device]
        found.audit()
        return found


def test_a_counter_that_is_frozen_for_good_leaves_its_line_open() -> None:
    host = Host(lambda now_ns: FIRST_UJ + min(now_ns, 12 * S) // 10)
    host.run(60 * S)
    host.restart()
    host.run(120 * S)
    line = host.line()
    last = line.windows[-1]
    assert last.start_mono_ns + last.duration_ns == 12 * S
    assert line.known_uj == 12 * S // 10
    assert not line.gaps
    assert last.flags & Flag.SUSPECT


@pytest.mark.parametrize("witness_ms", [100, 200, 300, 700, 900])
@pytest.mark.parametrize("frozen_ms", [*range(12_000, 13_000, 100)])
def test_what_was_in_doubt_is_not_told_before_witnesses_have_spoken(
    witness_ms: int, frozen_ms: int
) -> None:
    host = Host(lambda now_ns: FIRST_UJ + min(now_ns, frozen_ms * MS) // 10, witness_ms=witness_ms)
    host.run(30 * S)
    last = host.line().windows[-1]
    assert last.start_mono_ns + last.duration_ns == frozen_ms * MS


@pytest.mark.parametrize("end_ms", range(13_200, 19_500, 300))
def test_an_end_while_it_is_in_doubt_says_nothing_of_what_came_since(end_ms: int) -> None:
    host = Host(lambda now_ns: FIRST_UJ + min(now_ns, 12 * S) // 10)
    host.run(end_ms * MS)
    last = host.line().windows[-1]
    assert last.start_mono_ns + last.duration_ns == 12 * S


def test_one_that_catches_up_is_exact_over_one_long_window() -> None:
    def late(now_ns: int) -> int:
        return FIRST_UJ + (min(now_ns, 12 * S) if now_ns < 47 * S else now_ns) // 10

    host = Host(late)
    host.run(60 * S)
    line = host.line()
    assert not line.gaps
    assert line.known_uj == 599 * S // 100
    (long,) = [w for w in line.windows if w.start_mono_ns == 12 * S]
    assert (long.duration_ns, long.energy_uj) == (38 * S, 38 * S // 10)
    assert long.flags & Flag.SUSPECT
    assert long.flags & Flag.PARTIAL


def test_one_that_only_counts_on_leaves_a_gap() -> None:
    def stopped(now_ns: int) -> int:
        return FIRST_UJ + (min(now_ns, 12 * S) + max(0, now_ns - 47 * S)) // 10

    host = Host(stopped)
    host.run(60 * S)
    (gap,) = host.line().gaps
    assert gap.reason is GapReason.SENSOR_STALLED
    assert (gap.start_mono_ns, gap.duration_ns) == (12 * S, 35_100 * MS)
    assert gap.lower_uj == 100 * MS // 10
    assert 35_100 * MAX_MW <= gap.upper_uj <= 36_000 * MAX_MW


def test_it_is_given_up_after_a_day() -> None:
    timing = Timing(counter=True, refresh_ns=S, period_ns=S)
    line = CounterLedger(timing, max_power_mw=MAX_MW, unix_offset_ns=UNIX_NS)
    for second in range(10):
        line.observe(second * S, FIRST_UJ + second)
    line.freeze()
    line.observe(GIVE_UP_NS, FIRST_UJ + 9)
    assert not line.breaks
    line.observe(GIVE_UP_NS + 10 * S, FIRST_UJ + 9)
    (gap,) = line.breaks
    assert (gap.last_ns, gap.lower_uj) == (9 * S, 0)
    assert gap.upper_uj >= GIVE_UP_NS // MS * MAX_MW
    assert line.frozen
    line.observe(GIVE_UP_NS + 11 * S, FIRST_UJ + 10**6)
    assert [each.lower_uj for each in line.breaks] == [0, 0]
    assert not line.frozen


@settings(max_examples=25, deadline=None)
@given(
    freeze_ms=st.integers(1_000, 20_000),
    frozen_ms=st.integers(8_000, 60_000),
    powers_mw=st.lists(st.integers(1_000, MAX_MW), min_size=3, max_size=3),
    counts_on=st.booleans(),
    start_uj=st.integers(1, MODULUS_UJ - 1),
    restart_ms=st.integers(1, 100_000),
    witness_ms=st.integers(50, 900),
)
def test_whatever_a_frozen_counter_did_the_bounds_hold_the_truth(
    freeze_ms: int,
    frozen_ms: int,
    powers_mw: list[int],
    counts_on: bool,
    start_uj: int,
    restart_ms: int,
    witness_ms: int,
) -> None:
    """Three powers: before, while it is frozen, and after it.

    Stillness that a restart interrupts before it is judged counts as idleness until then.
    """
    assume(not freeze_ms - 1_500 < restart_ms < freeze_ms + 6_000)
    thaw_ms = freeze_ms + frozen_ms

    def truth_uj(now_ns: int) -> int:
        now_ms = now_ns // MS
        before, inside = min(now_ms, freeze_ms), min(now_ms, thaw_ms) - freeze_ms
        spans = (before, max(0, inside), max(0, now_ms - thaw_ms))
        return sum(power * span for power, span in zip(powers_mw, spans, strict=True))

    def shown_uj(now_ns: int) -> int:
        is_frozen = freeze_ms * MS < now_ns < thaw_ms * MS
        shown = truth_uj(freeze_ms * MS if is_frozen else now_ns)
        if now_ns >= thaw_ms * MS and not counts_on:
            shown -= powers_mw[1] * frozen_ms
        return start_uj + shown

    host = Host(shown_uj, witness_ms=witness_ms)
    end_ms = thaw_ms + 20_000
    if restart_ms < end_ms:
        host.run(restart_ms * MS)
        host.restart()
    host.run(end_ms * MS)
    line = host.line()
    last = line.windows[-1]
    end_ns = last.start_mono_ns + last.duration_ns
    slack_uj = 200 * MAX_MW  # two refreshes: edges are timed by the polls
    assert line.lower_uj - slack_uj <= truth_uj(end_ns) <= line.upper_uj + slack_uj


@pytest.mark.parametrize("silent_ms", [13_200, 13_500, 14_000, 16_000, 18_000])
@pytest.mark.parametrize("is_told", [True, False])
@pytest.mark.parametrize("comes_back", ["anew", "late", "on"])
def test_of_one_that_falls_silent_in_doubt_nothing_is_known_since_its_last_change(
    silent_ms: int, is_told: bool, comes_back: str
) -> None:
    """At its highest power, so that bounds of too short a time do not hold the truth."""

    def truth_uj(now_ns: int) -> int:
        return now_ns * MAX_MW // 10**6

    def shown_uj(now_ns: int) -> int:
        if now_ns < 47 * S:
            return FIRST_UJ + truth_uj(min(now_ns, 12 * S))
        if comes_back == "late":
            return FIRST_UJ + truth_uj(now_ns)
        counted_uj = truth_uj(now_ns - 47 * S)
        return counted_uj if comes_back == "anew" else FIRST_UJ + truth_uj(12 * S) + counted_uj

    host = Host(shown_uj)
    host.run(silent_ms * MS)
    host.run(silent_ms * MS + 5 * S, hears_gpu=False)
    if is_told:
        host.reducer.lost(0, host.now_ns, GapReason.SENSOR_LOST)
    told = len(host.batches)
    host.run(47 * S, hears_gpu=False)
    assert len(host.batches) >= told + 2  # nobody else waits for it
    host.run(60 * S)
    line = host.line()
    assert [gap.start_mono_ns for gap in line.gaps] == [12 * S] * (comes_back != "late")
    last = line.windows[-1]
    end_ns = last.start_mono_ns + last.duration_ns
    assert line.lower_uj <= truth_uj(end_ns) <= line.upper_uj


@pytest.mark.parametrize("silent_ms", [14_500, 30_000])
def test_one_that_starts_anew_after_a_silence_has_not_wrapped(silent_ms: int) -> None:
    """In doubt when it fell silent, or frozen by then; near its end, so that a wrap is possible."""
    first_uj = MODULUS_UJ - 20 * 10**9

    def truth_uj(now_ns: int) -> int:
        return now_ns * 10_000 // 10**6

    def shown_uj(now_ns: int) -> int:
        counted_uj = truth_uj(now_ns - 80 * S)
        return counted_uj if now_ns >= 80 * S else first_uj + truth_uj(min(now_ns, 12 * S))

    host = Host(shown_uj)
    host.run(silent_ms * MS)
    host.run(silent_ms * MS + 5 * S, hears_gpu=False)
    host.reducer.lost(0, host.now_ns, GapReason.SENSOR_LOST)
    host.run(80 * S, hears_gpu=False)
    host.run(90 * S)
    line = host.line()
    (gap,) = line.gaps
    assert (gap.start_mono_ns, gap.lower_uj) == (12 * S, 0)
    assert line.lower_uj <= truth_uj(90 * S) <= line.upper_uj


def test_a_witness_that_takes_minutes_holds_up_nobody() -> None:
    slow = sensor(2, kind=DeviceKind.GPU)
    reducer = Reducer([GPU, OTHER, slow], mono_ns=0, unix_ns=UNIX_NS)
    for position, refresh_ns in enumerate((100 * MS, 100 * MS, 600 * S)):
        reducer.measured(
            position,
            refresh_ns=refresh_ns,
            averaging_ns=0,
            period_ns=100 * MS,
            rate_reduced=False,
        )
    told_ns, silence_ns = 0, 0
    for now_ns in range(0, 200 * S, 100 * MS):
        for position, end_ns in enumerate((12 * S, 15 * S, 0)):  # they all come to rest
            reducer.observe(position, now_ns, FIRST_UJ + min(now_ns, end_ns) // 10)
        while reducer.step(now_ns):
            pass
        silence_ns = max(silence_ns, now_ns - told_ns)
        if reducer.take():
            told_ns = now_ns
    assert silence_ns < 30 * S
