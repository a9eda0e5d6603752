"""What a back end is told of devices that one workload holds alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from chipwatt.collector.egress.config import Tier
from chipwatt.collector.egress.shield import STEP_UJ
from chipwatt.collector.otlp.encode import Encoder
from chipwatt.collector.otlp.gaps import add_gaps_up, gaps_of
from chipwatt.collector.otlp.intervals import Intervals
from chipwatt.collector.otlp.row import empty
from chipwatt.core.model import Flag
from chipwatt.core.records import DeviceWindow
from fakes.device_windows import NS, T0_NS, Shelf, a_run, gap_block
from fakes.otlp_reader import points

MINUTE_NS = 60 * NS
ENERGY_UJ = st.integers(0, STEP_UJ // 12) | st.integers(0, STEP_UJ)  # a step in minutes, or many
STEPS = st.lists(st.tuples(ENERGY_UJ, st.booleans()), min_size=1, max_size=8)


def minutes(energies: Sequence[tuple[int, bool]], base_uj: int = 0) -> list[list[DeviceWindow]]:
    """Return six windows a minute, held or not."""
    flat = [energy for energy, _ in energies for _ in range(6)]
    windows = a_run(flat, base_uj=base_uj)
    return [
        [
            replace(window, flags=window.flags | (Flag.HELD_ALONE if is_held else 0))
            for window in windows[6 * n : 6 * n + 6]
        ]
        for n, (_, is_held) in enumerate(energies)
    ]


def exported(
    windows: Sequence[Sequence[DeviceWindow]],
    tier: Tier = Tier.CONFIDENTIAL,
    *,
    restart_after: int = -1,
    has_sums: bool = True,
) -> list[ExportMetricsServiceRequest]:
    encoder, shelf = Encoder(MINUTE_NS, version="1", tier=tier), Shelf()
    intervals, requests = Intervals(MINUTE_NS), []
    for number, minute in enumerate(windows, start=1):
        intervals.add([shelf.put(minute)])
        closed = T0_NS + number * MINUTE_NS
        rows = intervals.close(closed, ahead_unix_ns=T0_NS * 2)
        encoder.learn(shelf.hosts, {}, shelf.devices)
        if number - 1 == restart_after:
            state, began = encoder.state(), encoder.streams.began()
            encoder = Encoder(MINUTE_NS, version="1", tier=tier)
            encoder.learn(shelf.hosts, {}, shelf.devices)
            if has_sums:
                encoder.restore(state)
            encoder.take_up(began)
        requests += [request.message for request in encoder.requests(rows, closed)]
    return requests


def energies_uj(requests: Sequence[ExportMetricsServiceRequest]) -> list[int]:
    return [round(p.value * 10**6) for p in points(requests) if p.metric == "hw.energy"]


@settings(deadline=None, max_examples=50)
@given(STEPS, st.integers(0, 10**13))
def test_a_counter_never_falls_and_stays_within_a_step(
    energies: list[tuple[int, bool]], base_uj: int
) -> None:
    windows = minutes(energies, base_uj)
    told = energies_uj(exported(windows))
    assert told == sorted(told)
    truth = [minute[-1].cumulative_uj for minute in windows]
    for exact_uj, told_uj, (_, is_held) in zip(truth, told[-len(truth) :], energies, strict=True):
        assert 0 <= exact_uj - told_uj < (STEP_UJ if is_held else 1)


def test_nothing_but_steps_and_what_is_of_the_sensor_leaves() -> None:
    told = {point.metric for point in points(exported(minutes([(STEP_UJ, True)])))}
    assert told == {
        "hw.energy", "hw.power", "hw.status", "hw.host.energy", "hw.host.power",
        "chipwatt.coverage", "chipwatt.sensor.refresh", "chipwatt.power.limit",
    } & told  # fmt: skip
    assert {"hw.energy", "hw.power", "hw.host.energy"} <= told


def test_a_host_is_as_coarse_as_what_it_is_made_of() -> None:
    requests = exported(minutes([(STEP_UJ // 5, True), (STEP_UJ // 7, True)]))
    sums = [p.value for p in points(requests) if p.metric == "hw.host.energy"]
    assert all(round(each * 10**6) % STEP_UJ == 0 for each in sums)


def test_an_operator_of_one_tenant_gets_all_and_is_told_so() -> None:
    windows = minutes([(STEP_UJ // 3, True)])
    requests = exported(windows, Tier.OPERATOR)
    assert energies_uj(requests)[-1] == windows[0][-1].cumulative_uj
    named = {
        a.key: a.value.string_value for a in requests[0].resource_metrics[0].resource.attributes
    }
    assert named["chipwatt.egress"] == "operator"
    for request in exported(windows):
        keys = {a.key for a in request.resource_metrics[0].resource.attributes}
        assert "chipwatt.egress" not in keys


@settings(deadline=None, max_examples=30)
@given(STEPS, st.integers(0, 10**13), st.data())
def test_a_successor_tells_what_the_same_process_would(
    energies: list[tuple[int, bool]], base_uj: int, data: st.DataObject
) -> None:
    # Where a counter was last told exactly must be known, or it would be told so once more.
    windows = minutes(energies, base_uj)
    cut = data.draw(st.integers(0, len(windows)))
    assert energies_uj(exported(windows, restart_after=cut)) == energies_uj(exported(windows))


@settings(deadline=None, max_examples=100)
@given(STEPS, st.integers(0, 10**13), st.data())
def test_a_successor_that_lost_the_sums_tells_no_reading_of_a_held_device(
    energies: list[tuple[int, bool]], base_uj: int, data: st.DataObject
) -> None:
    windows = minutes(energies, base_uj)
    cut = data.draw(st.integers(0, len(windows) - 1))
    told = energies_uj(exported(windows, restart_after=cut, has_sums=False))
    assert told == sorted(told), "a back end would count all of it again"
    told, said = told[-len(windows) :], set(told[: -len(windows)])
    for minute, told_uj, (_, is_held) in zip(windows, told, energies, strict=True):
        assert abs(minute[-1].cumulative_uj - told_uj) < STEP_UJ
        if is_held:
            assert told_uj % STEP_UJ == 0 or told_uj in said
        said.add(told_uj)


def test_what_a_held_device_drew_unseen_stays_coarse_where_the_sums_are_lost() -> None:
    """Its gap may come before anything says again that it is held."""
    windows = minutes([(STEP_UJ // 3, True)])
    before, shelf = Encoder(MINUTE_NS, version="1"), Shelf()
    intervals = Intervals(MINUTE_NS)
    intervals.add([shelf.put(windows[0])])
    before.learn(shelf.hosts, {}, shelf.devices)
    closed = T0_NS + MINUTE_NS
    list(before.requests(intervals.close(closed, ahead_unix_ns=T0_NS * 2), closed))
    after = Encoder(MINUTE_NS, version="1")
    after.learn(shelf.hosts, {}, shelf.devices)
    after.take_up(before.streams.began())
    gaps = add_gaps_up(gaps_of(gap_block(shelf, 60), MINUTE_NS))
    requests = [one.message for one in after.requests(empty(), closed + MINUTE_NS, gaps)]
    bounds = [p.value for p in points(requests) if p.metric.startswith("chipwatt.gap.energy")]
    assert bounds
    assert all(round(each * 10**6) % STEP_UJ == 0 for each in bounds)
