"""Blocks reduced together say what the same blocks say one by one."""

from __future__ import annotations

import random
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.sensing.contract import Quantity
from chipwatt.core.model import DeviceKind, GapReason
from chipwatt.core.records import DeviceWindow, HostSecond, PowerHistogram
from fakes.books import books, seconds, sensor
from fakes.chip import Chip

MS = 1_000_000
S = 1_000 * MS
UNIX_NS = 1_700_000_000 * S
GPU = DeviceKind.GPU
SENSORS = [
    sensor(0),
    sensor(1, refresh_ns=100 * MS, kind=GPU),
    sensor(2, Quantity.POWER_MW, refresh_ns=100 * MS, kind=GPU),
    sensor(3, Quantity.POWER_MW, refresh_ns=100 * MS, averaging_ns=S, kind=GPU, root=False),
]
REFRESH_NS = (MS, 100 * MS, 100 * MS, 100 * MS)


class Host:
    """Two chips and two gauges in front of reducers that hand out at different cadences."""

    def __init__(self, phase_ns: int, periods_ns: list[int], seed: int) -> None:
        self.random = random.Random(seed)
        self.periods_ns = periods_ns
        load = [(self.random.randrange(1, 900) * MS, 350_000), (420 * MS, 90_000), (1700 * MS, 0)]
        self.chips = [Chip(load, jitter=0.2, seed=seed), Chip(load, refresh_ns=100 * MS)]
        self.reducers = [
            Reducer(SENSORS, mono_ns=0, unix_ns=UNIX_NS + phase_ns, batch_ns=batch_s * S)
            for batch_s in (1, 10)
        ]
        for reducer in self.reducers:
            for position, period_ns in enumerate(periods_ns):
                reducer.measured(
                    position,
                    refresh_ns=REFRESH_NS[position],
                    averaging_ns=SENSORS[position].averaging_ns,
                    period_ns=period_ns,
                    rate_reduced=False,
                )

    def play(self, end_ns: int, frozen: tuple[int, int], lost_ns: int) -> None:
        """Read until ``end_ns``; nothing answers in ``frozen``, the first GPU is lost once."""
        for now_ns in range(0, end_ns, 5 * MS):
            for position, period_ns in enumerate(self.periods_ns):
                if now_ns % period_ns or frozen[0] <= now_ns < frozen[1]:
                    continue
                if position < 2:
                    value = self.chips[position].counter_uj(now_ns)
                else:
                    value = self.random.randrange(300_000)
                for reducer in self.reducers:
                    reducer.observe(position, now_ns, value)
            for reducer in self.reducers:
                if now_ns == lost_ns:
                    reducer.lost(1, now_ns, GapReason.SENSOR_LOST)
                if now_ns % (50 * MS) == 0:
                    while reducer.step(now_ns):
                        pass

    def told(self, end_ns: int) -> list[tuple[list[DeviceWindow], list[HostSecond]]]:
        """Return what each reducer handed out, windows by sensor in the order of time."""
        found = []
        for reducer in self.reducers:
            batches = reducer.finish(end_ns)
            lines = books(batches)
            order = sorted(lines, key=str)
            windows = [_without_counts(w) for device in order for w in lines[device].windows]
            found.append((windows, seconds(batches)))
        return found


def assert_alike(ours: Any, theirs: Any, name: str = "") -> None:
    """Compare field by field: powers come from floating point, anything else is exact."""
    if is_dataclass(ours) and not isinstance(ours, PowerHistogram):
        for each in fields(ours):
            assert_alike(getattr(ours, each.name), getattr(theirs, each.name), each.name)
    elif isinstance(ours, PowerHistogram):
        assert _total_ms(ours) == _total_ms(theirs)
        if (ours.scale, ours.offset) == (theirs.scale, theirs.offset):
            moved = zip(ours.counts_ms, theirs.counts_ms, strict=False)
            assert sum(abs(a - b) for a, b in moved) <= _total_ms(ours) // 10
    elif isinstance(ours, int) and ("mw" in name or "swing" in name):
        assert ours == pytest.approx(theirs, abs=1, rel=1e-6), name
    else:
        assert ours == theirs, name


def _total_ms(histogram: PowerHistogram) -> int:
    return histogram.zero_ms + sum(histogram.counts_ms)


def _without_counts(window: DeviceWindow) -> DeviceWindow:
    """Leave out the polls, which are counted by the block in which a break is noticed."""
    provenance = replace(window.provenance, expected=0, got=0, repeated=0, dropped=0)
    return replace(window, provenance=provenance)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, S - 1),
    st.sampled_from([5, 10, 20, 40]),
    st.sampled_from([50, 100, 400]),
    st.integers(0, 21),
    st.integers(0, 4000),
    st.integers(0, 21_000),
    st.integers(0, 2**32),
)
def test_windows_do_not_depend_on_when_they_are_handed_out(
    phase_ns: int, cpu_ms: int, gpu_ms: int, silent_s: int, silent_ms: int, lost_ms: int, seed: int
) -> None:
    end_ns = 21 * S
    host = Host(phase_ns, [cpu_ms * MS, *[gpu_ms * MS] * 3], seed)
    host.play(end_ns, (silent_s * S, silent_s * S + silent_ms * MS), lost_ms // 50 * 50 * MS)
    (one_by_one, their_seconds), (together, our_seconds) = host.told(end_ns)
    assert len(together) == len(one_by_one)
    for ours, theirs in zip(together, one_by_one, strict=True):
        assert_alike(ours, theirs)
    for second, their_second in zip(our_seconds, their_seconds, strict=True):
        assert_alike(second, their_second)


def test_a_window_takes_few_chores() -> None:
    """A sensor's ten blocks are one; its window, each host second and each second's end another."""
    host = Host(0, [10 * MS, *[50 * MS] * 3], 1)
    host.chips = [Chip([(S, 100_000)]), Chip([(S, 100_000)], refresh_ns=100 * MS)]
    chores = [0, 0]
    for number, reducer in enumerate(host.reducers):
        for now_ns in range(0, 10 * S + 101 * MS, 10 * MS):
            for position, chip in enumerate((host.chips[0], host.chips[1], None, None)):
                value = chip.counter_uj(now_ns) if chip else 90_000
                reducer.observe(position, now_ns, value)
            while now_ns % (50 * MS) == 0 and reducer.step(now_ns):
                chores[number] += 1
    assert chores == [10 + 4 * 10 + 4 + 10, 10 + 4 + 4 + 10]
