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
from chipwatt.collector.otlp.intervals import Intervals
from chipwatt.core.model import Flag
from chipwatt.core.records import DeviceWindow
from fakes.device_windows import NS, T0_NS, Shelf, a_run
from fakes.otlp_reader import points

MINUTE_NS = 60 * NS
STEPS = st.lists(st.tuples(st.integers(0, STEP_UJ), st.booleans()), min_size=1, max_size=8)


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
            encoder.restore(state)
            encoder.streams.restore(began)
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
