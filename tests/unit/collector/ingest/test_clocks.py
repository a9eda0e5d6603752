"""Offsets from one-way stamps: never more than the truth, and near it once one message was fast."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from chipwatt.collector.ingest.clocks import STEP_SAMPLES, WINDOW_NS, Clocks
from chipwatt.core.clock import NS_PER_MS, NS_PER_S

HOST, OTHER = b"h" * 16, b"o" * 16
T0_NS = 1_790_000_000 * NS_PER_S


@given(
    st.integers(-(10**15), 10**15), st.lists(st.integers(0, 2 * NS_PER_S), min_size=1, max_size=50)
)
def test_the_fastest_message_tells(offset_ns: int, delays_ns: list[int]) -> None:
    clocks = Clocks()
    found = 0
    for n, delay_ns in enumerate(delays_ns):
        sent_ns = T0_NS + n * NS_PER_S
        found = clocks.note(HOST, sent_ns + offset_ns, sent_ns + delay_ns)
    assert found == offset_ns - min(delays_ns) == clocks.offset_ns(HOST)
    assert clocks.offset_ns(OTHER) is None


def test_a_clock_that_is_set_back_is_noticed_after_some_messages() -> None:
    clocks = Clocks()
    clocks.note(HOST, T0_NS + 3600 * NS_PER_S, T0_NS)
    for n in range(1, STEP_SAMPLES + 1):
        at_ns = T0_NS + n * NS_PER_S
        clocks.note(HOST, at_ns - 20 * NS_PER_MS, at_ns)
    assert clocks.offset_ns(HOST) == -20 * NS_PER_MS


def test_one_that_is_set_forward_at_once_and_old_samples_do_not_count() -> None:
    clocks = Clocks()
    clocks.note(HOST, T0_NS, T0_NS)
    assert clocks.note(HOST, T0_NS + 7 * NS_PER_S, T0_NS) == 7 * NS_PER_S
    later_ns = T0_NS + WINDOW_NS + 1
    assert clocks.note(HOST, later_ns + NS_PER_S, later_ns) == NS_PER_S
    # Our own clock set back must not keep what it said before for ever.
    assert clocks.note(HOST, T0_NS, T0_NS) == 0
