from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.timing import Timing

MS = 1_000_000
S = 1_000 * MS
RAPL = Timing(counter=True, refresh_ns=MS, period_ns=MS)


def test_rapl_at_1_khz_resolves_every_span() -> None:
    assert [RAPL.resolves(span) for span in (10 * MS, 100 * MS, S)] == [True, True, True]
    assert 36 * MS < RAPL.level_ns < 38 * MS


def test_a_stamped_counter_tells_levels_apart_at_once() -> None:
    assert replace(RAPL, stamped=True).level_ns == 10 * MS


def test_rapl_at_100_hz_does_not_resolve_10_ms() -> None:
    timing = replace(RAPL, period_ns=10 * MS)
    assert [timing.resolves(span) for span in (10 * MS, 100 * MS, S)] == [False, True, True]


def test_counter_of_100_ms_resolves_one_second_only() -> None:
    timing = Timing(counter=True, refresh_ns=100 * MS, period_ns=50 * MS)
    assert [timing.resolves(span) for span in (10 * MS, 100 * MS, S)] == [False, False, True]


def test_averaged_gauge_says_nothing_of_shorter_spans() -> None:
    timing = Timing(counter=False, refresh_ns=MS, period_ns=MS, averaging_ns=S)
    assert [timing.resolves(span) for span in (10 * MS, 100 * MS, S)] == [False, False, True]
    assert timing.swing_top_mhz == 500


def test_nothing_is_resolved_before_anything_is_known() -> None:
    timing = Timing(counter=True)
    assert not timing.resolves(S)
    assert timing.swing_top_mhz == 0


@given(
    st.booleans(), st.booleans(), st.integers(0, 10 * S), st.integers(0, 10 * S), st.integers(0, S)
)
def test_waits_and_tolerances_are_in_order(
    counter: bool, stamped: bool, refresh_ns: int, period_ns: int, averaging_ns: int
) -> None:
    timing = Timing(counter, stamped, refresh_ns, averaging_ns, period_ns)
    assert 0 < timing.allowed_ns <= timing.silence_ns <= timing.bridge_ns
    assert timing.uncertainty_ns <= timing.resolution_ns <= timing.level_ns
    assert timing.slack_ns >= timing.unseen_ns
