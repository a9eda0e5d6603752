from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.refresh import MIN_CHANGES, RefreshMeter, poll_period_ns
from chipwatt.core.clock import NS_PER_MS, NS_PER_S

MS = NS_PER_MS


def watch(
    meter: RefreshMeter, *, refresh_ns: int, period_ns: int, polls: int, repeats: float = 0.0
) -> None:
    """Poll a counter that refreshes on its own clock; a share of refreshes repeats the value."""
    chance = random.Random(refresh_ns ^ period_ns)
    values: dict[int, int] = {}
    value = 0
    for poll in range(polls):
        mono_ns = 1 + poll * period_ns
        tick = mono_ns // refresh_ns
        if tick not in values:
            value += chance.random() >= repeats
            values[tick] = value
        meter.see(mono_ns, values[tick])


@given(
    refresh_ms=st.integers(4, 200),
    polls_a_refresh=st.floats(2.0, 20.0),
)
def test_a_clocked_sensor_is_measured_within_5_percent(
    refresh_ms: int, polls_a_refresh: float
) -> None:
    meter = RefreshMeter(0, stamped=False)
    refresh_ns = refresh_ms * MS
    period_ns = int(refresh_ns / polls_a_refresh)
    watch(meter, refresh_ns=refresh_ns, period_ns=period_ns, polls=int(60 * polls_a_refresh))
    assert meter.assess(period_ns)
    assert abs(meter.refresh_ns - refresh_ns) <= 0.05 * refresh_ns


@given(refresh_us=st.integers(50, 10_000))
def test_a_sensor_faster_than_the_polls_is_never_called_slower_than_them(refresh_us: int) -> None:
    meter = RefreshMeter(0, stamped=False)
    watch(meter, refresh_ns=refresh_us * 1000, period_ns=10 * MS, polls=100)
    meter.assess(10 * MS)
    assert meter.refresh_ns <= 10 * MS


def test_what_a_fast_start_showed_is_not_unlearnt_by_slower_polls() -> None:
    meter = RefreshMeter(0, stamped=False)
    watch(meter, refresh_ns=MS, period_ns=MS, polls=1000)
    assert meter.assess(MS)
    meter.restart()
    watch(meter, refresh_ns=MS, period_ns=10 * MS, polls=100)
    assert not meter.assess(10 * MS)
    assert meter.refresh_ns == MS


def test_a_constant_value_leaves_the_documented_refresh() -> None:
    meter = RefreshMeter(100 * MS, stamped=False)
    for poll in range(1000):
        meter.see(poll * MS, 45_000)
    assert not meter.assess(MS)
    assert meter.refresh_ns == 100 * MS


def test_an_idle_gauge_that_mostly_repeats_itself_does_not_look_slow() -> None:
    meter = RefreshMeter(100 * MS, stamped=False)
    watch(meter, refresh_ns=100 * MS, period_ns=50 * MS, polls=4000, repeats=0.95)
    meter.assess(50 * MS)
    assert meter.refresh_ns == 100 * MS


def test_a_gauge_that_repeats_half_of_its_refreshes_is_still_measured() -> None:
    meter = RefreshMeter(0, stamped=False)
    watch(meter, refresh_ns=100 * MS, period_ns=20 * MS, polls=600, repeats=0.5)
    assert meter.assess(20 * MS)
    assert abs(meter.refresh_ns - 100 * MS) <= 5 * MS


def test_a_sensor_that_became_faster_is_followed_down() -> None:
    meter = RefreshMeter(100 * MS, stamped=False)
    period_ns = 50 * MS
    for _ in range(6):
        watch(meter, refresh_ns=12 * MS, period_ns=period_ns, polls=100)
        meter.assess(period_ns)
        meter.restart()
        period_ns = poll_period_ns(meter.refresh_ns, MS)
    assert abs(meter.refresh_ns - 12 * MS) <= MS


def test_too_few_changes_say_nothing() -> None:
    meter = RefreshMeter(0, stamped=False)
    for change in range(MIN_CHANGES):  # one interval fewer than changes
        meter.see(1 + change * 100 * MS, change)
    assert not meter.assess(MS)
    meter.see(1 + MIN_CHANGES * 100 * MS, -1)
    assert meter.assess(MS)


def test_stamps_make_equal_values_new_samples() -> None:
    meter = RefreshMeter(0, stamped=True)
    for sample in range(20):
        for _ in range(5):
            meter.see(1 + sample * 100 * MS, 45_000)
    assert meter.assess(20 * MS)
    assert meter.refresh_ns == 100 * MS


@given(st.integers(0, 120 * NS_PER_S), st.integers(MS, NS_PER_S))
def test_polls_are_never_faster_than_half_the_refresh(refresh_ns: int, fastest_ns: int) -> None:
    period_ns = poll_period_ns(refresh_ns, fastest_ns)
    assert period_ns >= fastest_ns
    assert 2 * period_ns >= refresh_ns
    assert period_ns in {fastest_ns, -(-refresh_ns // (2 * MS)) * MS}
