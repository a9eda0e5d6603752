from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.core import profile
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.coarsen import TARGET_BYTES, coarsen, gap_between
from chipwatt.core.codec import decode_tables, encode_records, records_from_tables
from chipwatt.core.columns import MAX_POWER_MW
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Flag, GapReason
from chipwatt.core.records import DeviceWindow, Gap, PowerHistogram, Profile, Records
from chipwatt.core.wire import MAX_PAYLOAD_BYTES
from fakes.lines import GPU, gaps_in, line, line_energy_uj, window, windows_in
from fakes.telemetry_records import ABSENT, T0_S, a_gap, a_second, a_sensor

MINUTE = 60 * NS_PER_S


def encode(*windows: DeviceWindow, **others: object) -> bytes:
    return encode_records(Records(windows=windows, **others))  # type: ignore[arg-type]


def merged(payloads: Sequence[bytes], resolution_ns: int = MINUTE) -> list[bytes]:
    answers = coarsen(payloads, resolution_ns)
    assert sum(answer.replaces for answer in answers) == len(payloads)
    return [answer.payload for answer in answers]


def test_windows_of_a_minute_become_what_merging_makes_of_them() -> None:
    (payload,) = merged(line(6))
    assert windows_in([payload]) == [reduce(profile.merge, [window(n) for n in range(6)])]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.sampled_from([60, 600, 3600]), st.integers(0, 50))
def test_energy_time_and_order_are_kept(count: int, resolution_s: int, first: int) -> None:
    payloads = line(count, first)
    found = windows_in(merged(payloads, resolution_s * NS_PER_S))
    assert sum(w.energy_uj for w in found) == line_energy_uj(first + count) - line_energy_uj(first)
    assert sum(w.duration_ns for w in found) == count * 10 * NS_PER_S
    starts = [w.start_mono_ns for w in found]
    assert starts == sorted(set(starts))
    assert found[-1].cumulative_uj == window(first + count - 1).cumulative_uj
    at_a_time = resolution_s // 10
    assert len(found) <= (count + at_a_time - 1) // at_a_time + 1
    again = windows_in(merged(merged(payloads), 10 * MINUTE))
    assert sum(w.energy_uj for w in again) == sum(w.energy_uj for w in found)


def test_what_is_not_adjacent_is_never_summed_up() -> None:
    lost = [payload for n, payload in enumerate(line(12)) if n != 3]
    found = windows_in(merged(lost, 10 * MINUTE))
    assert [(w.energy_uj, w.duration_ns) for w in found] == [
        (line_energy_uj(3), 30 * NS_PER_S),
        (line_energy_uj(12) - line_energy_uj(4), 80 * NS_PER_S),
    ]


def test_devices_are_told_apart_whatever_place_they_have() -> None:
    other = DeviceId(DeviceKind.CPU, 1)
    payloads = [
        encode(window(0), replace(window(0), device=other)),
        encode(replace(window(1), device=other), window(1)),
    ]
    found = windows_in(merged(payloads))
    assert {(w.device, w.energy_uj) for w in found} == {
        (GPU, line_energy_uj(2)),
        (other, line_energy_uj(2)),
    }


def test_gaps_stay_and_adjacent_ones_become_one() -> None:
    first, second = a_gap(T0_S, 50), a_gap(T0_S + 5, 70)
    second = replace(second, start_mono_ns=first.start_mono_ns + first.duration_ns)
    apart = replace(a_gap(T0_S + 20, 9), reason=GapReason.SENSOR_LOST)
    found = gaps_in(merged([encode(gaps=(first,)), encode(gaps=(second, apart))]))
    joined = replace(first, duration_ns=10 * NS_PER_S, lower_uj=2, upper_uj=120)
    assert sorted(found, key=lambda gap: gap.start_unix_ns) == [joined, apart]


def test_of_status_the_newest_of_each_kind_stays() -> None:
    old, new = a_sensor(), replace(a_sensor(), period_us=77)
    payloads = [
        encode(window(0), sensors=(old,), absent=(ABSENT,)),
        encode(window(1), sensors=(new,)),
        encode(window(2), host_seconds=(a_second(1_790_000_400, 5_000),)),
    ]
    (payload,) = merged(payloads)
    records = records_from_tables(decode_tables(payload))
    assert (records.sensors, records.absent) == ((new,), (ABSENT,))
    assert len(records.host_seconds) == 1


def test_what_cannot_be_read_stays_as_it_is_in_its_place() -> None:
    junk = b"\xff\x01 no payload"
    answers = coarsen([*line(3), junk, *line(2, 3)], MINUTE)
    assert [answer.replaces for answer in answers] == [3, 1, 2]
    assert answers[1].payload == junk


@pytest.mark.parametrize("buckets", [1, 160])
def test_no_answer_is_larger_than_a_collector_takes(buckets: int) -> None:
    """Windows that cannot be merged, and ones whose histograms grow when they are."""
    wide = [
        replace(
            window(n),
            epoch=n // 2,
            profile=Profile(histogram=PowerHistogram(0, n % 2 * 150, 0, (1,) * buckets)),
        )
        for n in range(3000)
    ]
    payloads = [encode(*wide[n : n + 10]) for n in range(0, 3000, 10)]
    answers = merged(payloads, 86_400 * NS_PER_S)
    assert all(len(payload) <= MAX_PAYLOAD_BYTES for payload in answers)
    assert len(answers) <= 1 + 3 * sum(map(len, payloads)) // TARGET_BYTES
    found = windows_in(answers)
    assert sum(w.energy_uj for w in found) == line_energy_uj(3000)


def test_a_lost_payload_leaves_a_gap_with_exactly_its_energy() -> None:
    payloads = line(6)
    (gap,) = gaps_in([gap_between(payloads[:2], payloads[4:])])
    lost_uj = line_energy_uj(4) - line_energy_uj(2)
    assert gap == Gap(
        device=GPU,
        domain=window(2).domain,
        statistic=window(2).statistic,
        start_unix_ns=window(2).start_unix_ns,
        start_mono_ns=window(2).start_mono_ns,
        duration_ns=20 * NS_PER_S,
        lower_uj=lost_uj,
        upper_uj=lost_uj,
        reason=GapReason.SPOOL_DAMAGED,
    )


def test_a_reset_within_the_loss_leaves_bounds_that_hold_anything_a_chip_can_draw() -> None:
    after = encode(replace(window(3), epoch=4, cumulative_uj=window(3).energy_uj))
    (gap,) = gaps_in([gap_between(line(2), [after])])
    assert (gap.lower_uj, gap.upper_uj) == (0, 10 * MAX_POWER_MW * 1000)


def test_where_nothing_is_missing_or_known_there_is_no_gap() -> None:
    assert gap_between(line(2), line(2, 2)) == b""
    assert gap_between([], line(1)) == b""
    assert gap_between([b"\xff"], [b"\xff"]) == b""


def test_merged_windows_say_so() -> None:
    (found,) = windows_in(merged(line(2)))
    assert found.flags & Flag.MERGED
