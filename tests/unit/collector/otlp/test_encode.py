"""What goes out, byte by byte against a golden file, and the joules in it exactly."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from chipwatt.collector.otlp.encode import Encoder
from chipwatt.collector.otlp.gaps import gaps_of
from chipwatt.collector.otlp.request import MAX_POINTS, points_of
from chipwatt.collector.otlp.row import Rows, join
from chipwatt.collector.otlp.windows import add_up, rows_of
from chipwatt.collector.store.contract import Block
from chipwatt.core.codec import tables_from_records
from chipwatt.core.columns import SectionKind
from chipwatt.core.histogram import build
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import (
    DeviceKind,
    Domain,
    Flag,
    GapReason,
    Interface,
    Method,
    Statistic,
)
from chipwatt.core.records import DeviceWindow, Gap, Profile, Provenance, Records, Throttle
from fakes.device_windows import (
    CPU,
    GPU,
    HOST_A,
    HOST_B,
    NS,
    T0_NS,
    Shelf,
    a_run,
    a_window,
)
from fakes.otlp_reader import Point, increases, points

GOLDEN = Path(__file__).parents[3] / "golden" / "otlp_request.json"
MINUTE_NS = 60 * NS
END_NS = T0_NS + 10 * MINUTE_NS


def encode(
    shelf: Shelf,
    encoder: Encoder | None = None,
    closed_unix_ns: int = END_NS,
    names: dict[bytes, str] | None = None,
) -> Iterator[ExportMetricsServiceRequest]:
    """Encode everything on the shelf as one round."""
    encoder = encoder or Encoder(MINUTE_NS, version="1.2.3")
    encoder.learn(shelf.hosts, names or {HOST_A: "node-a"}, shelf.devices)
    rows = add_up(join([rows_of(block, MINUTE_NS) for block in shelf.blocks]))
    shelf.blocks.clear()
    for request in encoder.requests(rows, closed_unix_ns):
        assert request.points == counted(request.message) <= MAX_POINTS
        assert request.message.ByteSize() < 4 * 1024 * 1024
        yield request.message


def counted(message: ExportMetricsServiceRequest) -> int:
    return sum(
        len(points_of(metric))
        for of in message.resource_metrics
        for scope in of.scope_metrics
        for metric in scope.metrics
    )


def only(requests: Sequence[ExportMetricsServiceRequest], metric: str) -> list[Point]:
    return [point for point in points(requests) if point.metric == metric]


def rapl(at_s: float, energy_uj: int, domain: Domain, flags: Flag = Flag.ROOT) -> DeviceWindow:
    return a_window(
        at_s,
        energy_uj,
        energy_uj,
        device=CPU,
        domain=domain,
        interface=Interface.RAPL_POWERCAP,
        flags=flags,
        coverage_ppm=950_000,
    )


def hand_made() -> Shelf:
    """A GPU that can say everything and whose counter is reset, a CPU with nested domains, and
    a host that only guesses."""
    shelf = Shelf()
    shelf.put([profiled(w) for w in a_run([3_000_000_000] * 6, base_uj=987_654_321_000_001)])
    shelf.put([a_window(64, 1_500_000_001, 1_500_000_001, epoch=2, duration_s=6)])
    shelf.put(
        [
            rapl(0, 750_000_000, Domain.PACKAGE, Flag.ROOT | Flag.FILTERED),
            rapl(0, 90_000_000, Domain.DRAM),
            rapl(0, 600_000_000, Domain.CORE, Flag(0)),
            rapl(0, 1_000_000_000, Domain.PSYS, Flag(0)),
        ]
    )
    estimated = a_window(
        20,
        450_000_000,
        900_000_000,
        device=CPU,
        domain=Domain.PACKAGE,
        method=Method.ESTIMATED,
        interface=Interface.ESTIMATE,
        flags=Flag.ROOT | Flag.ESTIMATED,
    )
    shelf.put([estimated], HOST_B)
    return shelf


def profiled(window: DeviceWindow) -> DeviceWindow:
    """The same with all that a sensor can say; 10 s, of which it saw 9.9."""
    counts = build(np.array([0, 250_000, 300_000, 310_000]), np.array([100, 4_000, 4_000, 1_800]))
    return replace(
        window,
        profile=Profile(
            300_000, 0, 320_000, 319_000, 318_000, 310_000, 500_000, 400_000, 50_000, 40_000,
            counts, 800, 30_000, 930_000,
        ),
        throttle=Throttle(700_000, 250, 1_500, None, 0),
        provenance=Provenance(Interface.NVML, Method.COUNTER, 1000, 95, 890, 3, 100_000, 25_000,
                              990_000),
    )  # fmt: skip


def some_gaps() -> Rows:
    gap = Gap(GPU, Domain.BOARD, Statistic.ENERGY, T0_NS + 60 * NS, 5, 4 * NS, 0, 2_800_000_001,
              GapReason.COUNTER_RESET)  # fmt: skip
    table = tables_from_records(Records(gaps=(gap,)))[SectionKind.GAP]
    return gaps_of(Block(9, SectionKind.GAP, np.zeros(1, int), np.zeros(1, int), table), MINUTE_NS)


def golden_request() -> ExportMetricsServiceRequest:
    shelf = hand_made()
    encoder = Encoder(MINUTE_NS, version="1.2.3", namespace="lab")
    encoder.learn(shelf.hosts, {HOST_A: "node-a"}, shelf.devices)
    rows = add_up(join([rows_of(block, MINUTE_NS) for block in shelf.blocks]))
    (request,) = encoder.requests(rows, END_NS, some_gaps())
    return request.message


def test_golden_request() -> None:
    request = golden_request()
    text = json.dumps(json_format.MessageToDict(request), indent=1, sort_keys=True) + "\n"
    if os.environ.get("CHIPWATT_UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_only_root_domains_are_hw_energy() -> None:
    requests = list(encode(hand_made()))
    gpu = f"{GPU}/board"
    assert {p.hw_id for p in only(requests, "hw.energy")} == {gpu, "cpu/0/package", "cpu/0/dram"}
    nested = {p.hw_id: dict(p.attributes) for p in only(requests, "chipwatt.domain.energy")}
    assert nested["cpu/0/core"]["hw.parent"] == "cpu/0/package"
    assert set(nested) == {"cpu/0/core", "cpu/0/psys"}
    joules = increases(requests, "hw.energy")
    assert joules[(HOST_A.hex(), "cpu/0/package")] + joules[(HOST_A.hex(), "cpu/0/dram")] == 840


def test_estimates_say_so_everywhere() -> None:
    requests = list(encode(hand_made()))
    for point in points(requests):
        assert (dict(point.attributes)["chipwatt.method"] == "estimated") == (
            point.host == HOST_B.hex()
        )


def test_a_reset_opens_a_stream_that_starts_later() -> None:
    energy = [p for p in only(list(encode(hand_made())), "hw.energy") if p.hw_id.startswith("gpu")]
    old, new = sorted({p.start_unix_ns for p in energy})
    assert (old, new) == (T0_NS, T0_NS + 64 * NS)
    opening = [p for p in energy if p.start_unix_ns == p.time_unix_ns]
    assert [p.value for p in opening] == [987_654_321.000001, 0.0]


BASES = st.integers(0, 1 << 60)
ENERGIES = st.lists(st.integers(0, 1 << 45), min_size=1, max_size=30)


@given(
    st.lists(st.tuples(BASES, ENERGIES), min_size=1, max_size=4),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_every_microjoule_arrives(
    epochs: list[tuple[int, list[int]]], rounds: int, rng: random.Random
) -> None:
    """Epochs one after another, in any order and any number of rounds: increases are the energy.

    Exactly so but for the rounding of each end of a stream to the nearest double.
    """
    windows, at_s, slack = [], 0.0, Fraction()
    for epoch, (base_uj, energies_uj) in enumerate(epochs, 1):
        run = a_run(energies_uj, base_uj=base_uj, at_s=at_s)
        at_s += 10 * len(run) + 5
        windows += [replace(window, epoch=epoch) for window in run]
        largest_j = (base_uj + sum(energies_uj)) / 1e6
        slack += Fraction(np.spacing(largest_j)) * 30
    rng.shuffle(windows)
    encoder, shelf, requests = Encoder(MINUTE_NS, version="0"), Shelf(), []
    for part in range(rounds):
        if some := windows[part::rounds]:
            shelf.put(some)
            requests += list(encode(shelf, encoder, END_NS + part * MINUTE_NS))
    stored = Fraction(sum(sum(energies_uj) for _, energies_uj in epochs), 10**6)
    (host_j,) = increases(requests, "hw.host.energy").values()
    assert 0 <= stored - host_j < 1
    (device_j,) = increases(requests, "hw.energy").values()
    assert abs(device_j - stored) <= slack


@given(ENERGIES, BASES)
def test_mean_power_is_energy_over_time(energies_uj: list[int], base_uj: int) -> None:
    shelf = Shelf()
    shelf.put(a_run(energies_uj, base_uj=base_uj))
    total = Fraction()
    for point in only(list(encode(shelf)), "hw.power"):
        total += Fraction(point.value) * (point.time_unix_ns - point.start_unix_ns) / NS
    assert abs(total - Fraction(sum(energies_uj), 10**6)) <= total * Fraction(1, 2**51)


def test_host_power_waits_for_all_its_parts() -> None:
    """Once: a part that stays away is then no longer waited for."""
    shelf = Shelf()
    for minute, devices in enumerate([(CPU, GPU), (CPU,), (CPU,), (CPU,), (CPU, GPU)]):
        at_s = 60 * minute
        shelf.put([a_window(at_s, 60_000_000, 10**9, device=d, duration_s=60) for d in devices])
    shelf.put([a_window(60, 60_000_000, 10**9, device=GPU, duration_s=60)])
    power = only(list(encode(shelf)), "hw.host.power")
    assert [(p.start_unix_ns - T0_NS) // MINUTE_NS for p in power] == [0, 1, 3, 4]
    assert [p.value for p in power] == [2.0, 2.0, 1.0, 2.0]


def test_a_request_with_the_longest_names_stays_below_what_receivers_take() -> None:
    shelf = Shelf()
    devices = [DeviceId(DeviceKind.MODULE, 0, (1 << 128) - 1 - n) for n in range(100)]
    hosts = [n.to_bytes(16, "big") for n in range(20)]
    for host in hosts:
        shelf.put(
            [
                a_window(0, 1 << 50, 1 << 61, device=d, domain=Domain.MEMORY, flags=flags)
                for d in devices
                for flags in (Flag.FILTERED, Flag.ROOT | Flag.FILTERED)
            ],
            host,
        )
    requests = list(encode(shelf, names=dict.fromkeys(hosts, "n" * 300)))
    assert len(requests) > 2
    assert {len(list(points([request]))) for request in requests[:-1]} == {MAX_POINTS}
