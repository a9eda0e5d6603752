"""What is not known up to now: one gap a silent line, with bounds that hold whatever it drew."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import given

from chipwatt.collector.query.open_gaps import FORGET_NS, OPEN_AFTER_NS, HostNow, open_gaps
from chipwatt.collector.store.lines import Line
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.model import AbsentReason, Domain, Interface, Statistic
from chipwatt.core.records import AbsentInterface
from chipwatt.v1 import query_pb2 as pb
from fakes.telemetry_records import CPU, GPU, T0_S, a_sensor, a_window

T0_NS = T0_S * NS_PER_S
HOUR_S = 3600


def at(now_s: int, *, heard_s: int | None = None, newest_s: int = 0) -> HostNow:
    heard = now_s if heard_s is None else heard_s
    return HostNow(
        T0_NS + now_s * NS_PER_S, T0_NS + heard * NS_PER_S, T0_NS, T0_NS + newest_s * NS_PER_S
    )


def line(end_s: int) -> Line:
    end_ns = end_s * NS_PER_S
    return Line(GPU, Domain.BOARD, Statistic.ENERGY, T0_NS + end_ns, end_ns, 10 * NS_PER_S)


def test_a_sensor_that_stopped_while_its_host_goes_on() -> None:
    (gap,) = open_gaps(at(HOUR_S, newest_s=HOUR_S - 5), [line(100)], [], [a_sensor()], [])
    assert gap.device_id == str(GPU)
    assert (gap.start_unix_ns, gap.start_mono_ns) == (T0_NS + 100 * NS_PER_S, 100 * NS_PER_S)
    assert gap.duration_ns == (HOUR_S - 105) * NS_PER_S
    assert (gap.lower_uj, gap.upper_uj) == (0, 1_000 * (HOUR_S - 105) * 1_000_000)  # 1 kW
    assert gap.reason == pb.OPEN_GAP_REASON_SENSOR_LOST


def test_a_silent_host_leaves_every_line_open_up_to_now() -> None:
    cpu = replace(a_window(T0_S + 90, 5, device=CPU, domain=Domain.PACKAGE))
    gaps = open_gaps(at(HOUR_S, heard_s=101, newest_s=100), [line(100)], [cpu], [], [])
    assert [(g.device_id, g.duration_ns // NS_PER_S) for g in gaps] == [
        (str(CPU), HOUR_S - 100),
        (str(GPU), HOUR_S - 100),
    ]
    assert {g.reason for g in gaps} == {pb.OPEN_GAP_REASON_HOST_SILENT}
    assert not any(g.HasField("upper_uj") for g in gaps)  # nobody said what they can draw


def test_reasons_from_what_the_host_says_of_itself() -> None:
    now = at(HOUR_S, newest_s=HOUR_S)
    hidden = AbsentInterface(Interface.NVML, AbsentReason.PERMISSION_DENIED)
    (gap,) = open_gaps(now, [line(0)], [], [a_sensor()], [hidden])
    assert gap.reason == pb.OPEN_GAP_REASON_PERMISSION_LOST
    elsewhere = replace(hidden, interface=Interface.HSMP)
    (gap,) = open_gaps(now, [line(0)], [], [a_sensor()], [elsewhere])
    assert gap.reason == pb.OPEN_GAP_REASON_SENSOR_LOST
    (gap,) = open_gaps(now, [], [], [a_sensor()], [])
    assert gap.reason == pb.OPEN_GAP_REASON_NO_DATA_YET
    assert gap.start_unix_ns == T0_NS  # since the host was first seen


def test_the_newest_of_store_and_memory_counts_and_a_week_is_enough() -> None:
    newest = a_window(T0_S + HOUR_S, 5)
    assert open_gaps(at(HOUR_S + 20, newest_s=HOUR_S + 10), [line(100)], [newest], [], []) == []
    week_s = FORGET_NS // NS_PER_S
    assert open_gaps(at(week_s + 101, newest_s=week_s + 101), [line(100)], [], [], []) == []
    assert len(open_gaps(at(week_s + 100, newest_s=week_s + 100), [line(100)], [], [], [])) == 1
    assert open_gaps(at(0), [], [], [], []) == []


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_bounds_hold_whatever_was_drawn(
    end_s: int, newest_s: int, silent_s: int, power_mw: int
) -> None:
    sensor = replace(a_sensor(), max_power_mw=10**6)
    host = at(newest_s + silent_s, heard_s=newest_s, newest_s=newest_s)
    for gap in open_gaps(host, [line(end_s)], [], [sensor], []):
        assert gap.duration_ns > OPEN_AFTER_NS
        drawn_uj = power_mw * gap.duration_ns // 1_000_000
        assert gap.lower_uj <= drawn_uj <= gap.upper_uj
        assert gap.start_unix_ns + gap.duration_ns <= max(
            host.now_unix_ns, T0_NS + end_s * NS_PER_S
        )
