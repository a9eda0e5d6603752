"""A limit that rejects every true reading gives way; one that rejects spikes stands."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.counter_ledger import CounterLedger
from chipwatt.agent.gauge_ledger import GaugeLedger
from chipwatt.agent.limit_doubt import PATIENCE_NS
from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.rejections import RejectionLog
from chipwatt.agent.sensing.contract import Quantity
from chipwatt.agent.timing import Timing
from fakes.books import sensor

MS = 1_000_000
S = 1_000 * MS
UTMOST_MW = 3_000_000
STEP_NS = 100 * MS


def gauge(max_power_mw: int) -> GaugeLedger:
    timing = Timing(counter=False, stamped=False, refresh_ns=STEP_NS)
    return GaugeLedger(
        timing, max_power_mw=max_power_mw, unix_offset_ns=1_700_000_000 * S, utmost_mw=UTMOST_MW
    )


def counter(max_power_mw: int) -> CounterLedger:
    timing = Timing(counter=True, stamped=False, refresh_ns=STEP_NS)
    return CounterLedger(
        timing, max_power_mw=max_power_mw, unix_offset_ns=1_700_000_000 * S, utmost_mw=UTMOST_MW
    )


@given(st.integers(1, 20_000), st.integers(50_000, 900_000))
def test_a_gauge_whose_every_reading_is_above_its_limit_is_believed(
    limit_mw: int, power_mw: int
) -> None:
    line = gauge(limit_mw)
    for step in range(200):
        line.observe(step * STEP_NS, power_mw + step % 7)
    assert line.times_ns[0] <= PATIENCE_NS + 2 * STEP_NS
    assert line.max_power_mw == (power_mw + 6) * 3 // 2
    assert line.level_mw == power_mw + 199 % 7


@given(st.integers(1, 2_000), st.integers(100_000, 900_000))
def test_a_counter_that_outruns_its_limit_keeps_every_joule(limit_mw: int, power_mw: int) -> None:
    line = counter(limit_mw)
    for step in range(300):
        line.observe(step * STEP_NS, power_mw * 100 * step)
    assert line.max_power_mw == 3 * power_mw
    unknown_uj = sum(gap.upper_uj - gap.lower_uj for gap in line.breaks)
    assert line.cumulative_uj[-1] == power_mw * 100 * 299
    assert unknown_uj == 0


@pytest.mark.parametrize("value", [UTMOST_MW + 1, 2**31, 2**63])
def test_nothing_beyond_the_utmost_is_ever_believed(value: int) -> None:
    line = gauge(400_000)
    for step in range(1_000):
        line.observe(step * STEP_NS, value + step % 9)
    assert (line.max_power_mw, len(line.times_ns)) == (400_000, 0)


def test_a_sentinel_that_stands_for_ever_is_no_power() -> None:
    line = gauge(400_000)
    for step in range(1_000):
        line.observe(step * STEP_NS, 2_147_483)
    assert (line.max_power_mw, len(line.times_ns)) == (400_000, 0)


@given(st.lists(st.integers(400_001, UTMOST_MW), min_size=200, max_size=300), st.integers(2, 99))
def test_spikes_between_true_readings_raise_nothing(spikes: list[int], every: int) -> None:
    line = gauge(400_000)
    for step, spike in enumerate(spikes):
        line.observe(step * STEP_NS, 100_000 + step if step % every == 0 else spike)
    assert line.max_power_mw == 400_000
    assert max(line.values_mw) <= 400_000


def test_a_limit_given_up_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    wrong = sensor(1, Quantity.POWER_MW, max_power_mw=1_500)
    reducer = Reducer([wrong], mono_ns=0, unix_ns=1_700_000_000 * S)
    log = RejectionLog([wrong], reducer.ledgers())
    with caplog.at_level(logging.WARNING):
        for step in range(300):
            reducer.observe(0, step * STEP_NS, 200_000 + step % 5)
            log.look(step * STEP_NS)
    told = [message for message in caplog.messages if "taken to be wrong" in message]
    assert len(told) == 1
    assert "above the 1500 mW" in told[0]
    assert "up to 300006 mW" in told[0]
