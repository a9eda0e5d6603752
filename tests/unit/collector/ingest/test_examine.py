"""What cannot be true is corrected or flagged, and no µJ of it changes."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import given

from chipwatt.collector.ingest.examine import examine
from chipwatt.collector.store.contract import AHEAD_NS
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.coarse import ROWS
from chipwatt.core.codec import records_from_tables, tables_from_records
from chipwatt.core.columns import I64, SectionKind
from chipwatt.core.model import Flag, Interface, Method, Statistic
from chipwatt.core.records import DeviceWindow, Records, SensorStatus
from fakes.telemetry_records import CPU, GPU, T0_S, a_batch, a_gap, a_host, a_second, a_window
from fakes.workload_records import a_minute, a_workload

HOST = a_host(1)
NOW_NS = T0_S * NS_PER_S
KINDS = (SectionKind.HOST_SECOND, SectionKind.DEVICE_WINDOW, SectionKind.GAP)


@given(
    st.lists(st.integers(NOW_NS - 10**15, I64), min_size=1, max_size=8),
    st.integers(-(10**17), 1 << 62),
)
def test_no_stamp_stays_ahead_and_nothing_else_changes(starts: list[int], offset_ns: int) -> None:
    records = Records(
        windows=tuple(
            replace(a_window(T0_S, 7 + n), start_unix_ns=s) for n, s in enumerate(starts)
        ),
        host_seconds=tuple(replace(a_second(T0_S, 5), start_unix_ns=s) for s in starts),
        gaps=tuple(replace(a_gap(T0_S, 9), start_unix_ns=s) for s in starts),
    )
    batch, found = examine(a_batch(HOST, records), offset_ns)
    ahead = [s > NOW_NS + AHEAD_NS for s in starts]
    assert found["ahead"] == 3 * sum(ahead)
    for kind in KINDS:
        assert int(batch.tables[kind]["start_unix_ns"].max()) <= NOW_NS + AHEAD_NS
        assert int(batch.tables[kind]["start_unix_ns"].min()) > 0
    after = records_from_tables(batch.tables)
    for was, now, moved in zip(records.windows, after.windows, ahead, strict=True):
        flags = was.flags | (Flag.CLOCK_AHEAD if moved else 0)
        assert now == replace(was, start_unix_ns=now.start_unix_ns, flags=flags)
        assert moved or now.start_unix_ns == was.start_unix_ns


def test_rows_keep_their_distances_and_the_last_ends_as_it_comes() -> None:
    windows = tuple(a_window(T0_S + 86_400 + 10 * n, 5) for n in range(6))
    batch, _ = examine(a_batch(HOST, Records(windows=windows)))
    starts = [w.start_unix_ns for w in records_from_tables(batch.tables).windows]
    assert starts == [NOW_NS + 10 * (n - 6) * NS_PER_S for n in range(6)]


def test_a_backlog_of_a_clock_known_to_be_ahead_goes_back_by_what_is_known() -> None:
    an_hour_ago = tuple(a_window(T0_S - 3600 + 86_400, 5) for _ in range(2))
    batch, _ = examine(a_batch(HOST, Records(windows=an_hour_ago)), 86_400 * NS_PER_S)
    starts = {w.start_unix_ns for w in records_from_tables(batch.tables).windows}
    assert starts == {NOW_NS - 3600 * NS_PER_S}


def at_watts(watts: int, limit_mw: int | None) -> DeviceWindow:
    window = a_window(T0_S, watts * 10 * 1_000_000)
    return replace(window, throttle=replace(window.throttle, limit_mw=limit_mw))


def test_more_than_half_above_the_stated_limit_is_flagged_and_kept() -> None:
    windows = (at_watts(1050, 700_000), at_watts(1051, 700_000), at_watts(9000, None))
    batch, found = examine(a_batch(HOST, Records(windows=windows)))
    assert found == {"implausible": 1}
    kept = records_from_tables(batch.tables).windows
    assert [bool(w.flags & Flag.IMPLAUSIBLE) for w in kept] == [False, True, False]
    assert [w.energy_uj for w in kept] == [w.energy_uj for w in windows]


def test_what_the_sensor_says_of_itself_comes_before_the_limit_in_force() -> None:
    sensor = SensorStatus(
        GPU, at_watts(1, 0).domain, Statistic.ENERGY, Interface.NVML, Method.COUNTER, True,
        20_000, 0, 10_000, 900, 1_000_000,
    )  # fmt: skip
    records = Records(windows=(at_watts(1400, 700_000), at_watts(1501, None)), sensors=(sensor,))
    _, found = examine(a_batch(HOST, records))
    assert found == {"implausible": 1}
    other = replace(sensor, device=CPU)
    _, found = examine(a_batch(HOST, replace(records, sensors=(other,))))
    assert found == {"implausible": 1}  # the first, by the limit in its window


def test_what_is_sound_comes_back_as_it_is() -> None:
    records = Records(windows=(at_watts(500, 700_000),), gaps=(a_gap(T0_S, 9),))
    batch = a_batch(HOST, records)
    assert examine(batch) == (batch, {})
    assert examine(batch)[0] is batch
    empty = replace(batch, tables=tables_from_records(Records()))
    assert examine(empty)[0] is empty


def test_minutes_of_workloads_from_the_future_are_left_out() -> None:
    minute = T0_S // 60
    batch, found = examine(a_batch(HOST, a_minute(minute, a_workload(7, minute))))
    assert (SectionKind.WORKLOAD in batch.tables, found.total()) == (True, 0)
    batch, found = examine(a_batch(HOST, a_minute(minute + 4, a_workload(7, minute + 4))))
    assert (SectionKind.WORKLOAD in batch.tables, found["ahead"]) == (False, ROWS)
