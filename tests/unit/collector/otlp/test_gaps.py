"""Gaps go out as sums with both bounds; nothing is lost or told twice, however it is cut."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.otlp.encode import Encoder
from chipwatt.collector.otlp.gaps import add_gaps_up, gaps_of
from chipwatt.collector.otlp.intervals import GAPS, Intervals
from chipwatt.collector.otlp.row import empty
from chipwatt.collector.store.contract import Block
from chipwatt.core.codec import tables_from_records
from chipwatt.core.columns import SectionKind
from chipwatt.core.model import Domain, GapReason, Statistic
from chipwatt.core.records import Gap, Records
from fakes.device_windows import CPU, GPU, HOST_A, HOST_B, NS, T0_NS
from fakes.otlp_reader import points

MINUTE_NS = 60 * NS
HOSTS, DEVICES = [HOST_A, HOST_B], [(HOST_A, GPU), (HOST_A, CPU), (HOST_B, CPU)]


def a_gap(at_s: int, lower_uj: int, upper_uj: int, device: int, reason: GapReason) -> Gap:
    return Gap(DEVICES[device][1], Domain.BOARD, Statistic.ENERGY, T0_NS + at_s * NS, 5, 3 * NS,
               lower_uj, upper_uj, reason)  # fmt: skip


def a_block(position: int, gaps: list[tuple[int, Gap]]) -> Block:
    table = tables_from_records(Records(gaps=tuple(gap for _, gap in gaps)))[SectionKind.GAP]
    devices = np.array([device for device, _ in gaps])
    hosts = np.array([HOSTS.index(DEVICES[device][0]) for device in devices.tolist()])
    return Block(position, SectionKind.GAP, hosts, devices, table)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 600), st.integers(0, 10**9), st.integers(0, 10**9),
            st.integers(0, 2), st.sampled_from([GapReason.AGENT_DOWN, GapReason.COUNTER_RESET]),
        ),
        min_size=1, max_size=30,
    ),
    st.integers(0, 1 << 32),
)  # fmt: skip
def test_the_last_point_of_each_series_is_the_exact_sum(
    drawn: list[tuple[int, int, int, int, GapReason]], seed: int
) -> None:
    gaps = [(d, a_gap(at, low, low + more, d, why)) for at, low, more, d, why in drawn]
    dice = random.Random(seed)
    intervals = Intervals(MINUTE_NS, kind=GAPS)
    encoder = Encoder(MINUTE_NS, version="1")
    encoder.learn(HOSTS, {}, DEVICES)
    requests = []
    position = 0
    for minute in range(1, 13):
        for each in gaps[(minute - 1) * 3 : minute * 3]:
            position += 1
            intervals.add([a_block(position, [each])])
        if dice.random() < 0.7 or minute == 12:
            closed_ns = T0_NS + minute * MINUTE_NS
            rows = intervals.close(closed_ns, ahead_unix_ns=T0_NS * 2)
            requests += list(encoder.requests(empty(), closed_ns, rows))
    assert intervals.done == position
    last: dict[tuple[object, ...], float] = {}
    times: dict[tuple[object, ...], int] = {}
    for point in points([request.message for request in requests]):
        why = dict(point.attributes)["chipwatt.reason"]
        series = (point.host, point.metric, point.hw_id, why)
        assert point.time_unix_ns > times.get(series, 0)
        assert point.value >= last.get(series, 0)
        last[series], times[series] = point.value, point.time_unix_ns
    for device, reason in {(device, gap.reason) for device, gap in gaps}:
        mine = [gap for d, gap in gaps if d == device and gap.reason is reason]
        owner, name = DEVICES[device]
        key = (f"{name}/board", reason.name.lower())
        host = owner.hex()
        lower = sum(gap.lower_uj for gap in mine)
        upper = sum(gap.upper_uj for gap in mine)
        assert last[host, "chipwatt.gap.energy.lower", *key] == float(Fraction(lower, 10**6))
        assert last[host, "chipwatt.gap.energy.upper", *key] == float(Fraction(upper, 10**6))
        assert last[host, "chipwatt.gap.count", *key] == len(mine)
        assert last[host, "chipwatt.gap.duration", *key] == 3 * len(mine)


def test_a_series_begins_with_a_point_of_nothing() -> None:
    rows = add_gaps_up(
        gaps_of(a_block(1, [(0, a_gap(0, 5, 9, 0, GapReason.SENSOR_LOST))]), MINUTE_NS)
    )
    encoder = Encoder(MINUTE_NS, version="1")
    encoder.learn(HOSTS, {}, DEVICES)
    closed_ns = T0_NS + MINUTE_NS
    (request,) = encoder.requests(empty(), closed_ns, rows)
    found = [p for p in points([request.message]) if p.metric == "chipwatt.gap.energy.upper"]
    assert [(p.time_unix_ns - T0_NS, p.value) for p in found] == [
        (1_000_000, 0.0),
        (MINUTE_NS, 9e-6),
    ]
    attributes = dict(found[0].attributes)
    assert (attributes["chipwatt.reason"], attributes["hw.type"]) == ("sensor_lost", "gpu")


def test_what_is_no_gap_is_left_alone() -> None:
    block = a_block(1, [(0, a_gap(0, 5, 9, 0, GapReason.SENSOR_LOST))])
    other = Block(2, SectionKind.HOST_SECOND, block.hosts, block.devices, block.table)
    assert len(gaps_of(other, MINUTE_NS)) == 0
    assert len(add_gaps_up(gaps_of(other, MINUTE_NS))) == 0
