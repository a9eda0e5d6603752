"""Whatever a counter goes through, what the ledger says of it contains the truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.counter_ledger import CounterLedger
from chipwatt.agent.timing import Timing
from chipwatt.core.model import GapReason
from fakes.chip import Chip

MS = 1_000_000
S = 1_000 * MS
RAPL_MODULUS_UJ = 262_143_328_850


def ledger(modulus_uj: int, refresh_ns: int) -> CounterLedger:
    timing = Timing(counter=True, refresh_ns=refresh_ns, period_ns=10 * MS)
    return CounterLedger(
        timing, max_power_mw=400_000, unix_offset_ns=1_700_000_000 * S, modulus_uj=modulus_uj
    )


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
        line.hold()
        ahead = {b.first_ns: b for b in line.breaks}
        pairs = zip(line.times_ns, line.cumulative_uj, strict=True)
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
            line.observe(now_ns, 2**47)
        else:
            line.observe(now_ns, chip.counter_uj(now_ns))
            last_ns = chip.updated_ns(now_ns)
    books = Books.of(line)
    truth_uj = chip.energy_uj(last_ns) - chip.energy_uj(first_ns)
    assert books.known_uj + books.lower_uj <= truth_uj <= books.known_uj + books.upper_uj
    assert books.epochs == sorted(set(books.epochs))
