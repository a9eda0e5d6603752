"""How fast intervals become OTLP requests, beside opentelemetry-sdk over the same points.

``python -m tests.bench.otlp``: one line a way, and the verdict. Needs the extra ``dev``.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from chipwatt.collector.otlp.encode import Encoder
from chipwatt.collector.otlp.request import MAX_BYTES, MAX_POINTS, Request, points_of
from chipwatt.collector.otlp.row import Rows, join
from chipwatt.collector.otlp.windows import add_up, rows_of
from chipwatt.collector.store.contract import Block
from chipwatt.core.codec import tables_from_records
from chipwatt.core.columns import SectionKind
from chipwatt.core.histogram import build
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Interface, Method
from chipwatt.core.records import DeviceWindow, Profile, Provenance, Records, Throttle

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bench.otlp_stall import stalled
from fakes.device_windows import NS, T0_NS, a_window

INTERVAL_NS = 60 * NS
DEVICES = 10
FLEET_HOSTS = 10_000
LEAST_RATIO, MOST_CORES = 5.0, 0.5
STALL_MINUTES = 30
MOST_GROWN_MIB = 5
"""Over two thirds of the stall; the store's own dictionaries and caches are in it."""
Point = sdk.NumberDataPoint | sdk.ExponentialHistogramDataPoint


def device_windows(host: int, minute: int, dice: np.random.Generator) -> list[DeviceWindow]:
    """Return a minute of one host whose devices have everything that a window can say."""
    windows = []
    for device in range(DEVICES):
        power_mw = dice.normal(400_000, 120_000, 100).clip(60_000, 700_000).astype(np.int64)
        low, mean, slow, fast, faster, top = sorted(dice.integers(60_000, 700_000, 6).tolist())
        ramps = [int(one) for one in dice.integers(1, 9_000_000, 4)]
        profile = Profile(
            *(mean, low, top, faster, fast, slow),
            *(ramps[0], ramps[1], ramps[2], ramps[3]),
            build(power_mw, np.full(100, 600)),
            *(int(dice.integers(100, 20_000)), int(dice.integers(200_000)), 930_000),
        )
        energy_uj = int(power_mw.sum()) * 600
        window = a_window(
            60 * minute, energy_uj, 10**12 + minute * 10**11 + energy_uj, duration_s=60,
            device=device_id(host, device),
        )  # fmt: skip
        got = int(dice.integers(5000, 6000))
        provenance = Provenance(
            Interface.NVML, Method.COUNTER, 6000, got, 6000 - got, 0, 100_000, 25_000, 999_000
        )
        throttle = Throttle(700_000, int(dice.integers(60_000)), 0, 0, 0)
        windows.append(replace(window, profile=profile, throttle=throttle, provenance=provenance))
    return windows


def device_id(host: int, device: int) -> DeviceId:
    return DeviceId(DeviceKind.GPU, 0, host << 8 | device + (1 << 64))


def fleet(hosts: int, minute: int, dice: np.random.Generator) -> Rows:
    """Return a minute of ``hosts``, added up."""
    parts = []
    for host in range(hosts):
        records = Records(windows=tuple(device_windows(host, minute, dice)))
        table = tables_from_records(records)[SectionKind.DEVICE_WINDOW]
        owners = np.arange(DEVICES) + host * DEVICES
        block = Block(host + 1, SectionKind.DEVICE_WINDOW, np.full(DEVICES, host), owners, table)
        parts.append(rows_of(block, INTERVAL_NS))
    return add_up(join(parts))


def encoder_for(hosts: int) -> Encoder:
    """Return an encoder that knows the fleet."""
    encoder = Encoder(INTERVAL_NS, version="1")
    ids = [host.to_bytes(16) for host in range(hosts)]
    devices = [
        (one, device_id(host, device)) for host, one in enumerate(ids) for device in range(DEVICES)
    ]
    encoder.learn(ids, {one: f"node-{host:05d}" for host, one in enumerate(ids)}, devices)
    return encoder


def for_the_sdk(requests: Iterable[Request]) -> list[sdk.MetricsData]:
    """Return the same points as the SDK's own data, one object a request."""
    return [
        sdk.MetricsData(
            [
                sdk.ResourceMetrics(
                    Resource(_plain(of.resource.attributes)),
                    [
                        sdk.ScopeMetrics(
                            InstrumentationScope(scope.scope.name, scope.scope.version),
                            [_metric(metric) for metric in scope.metrics],
                            "",
                        )
                        for scope in of.scope_metrics
                    ],
                    "",
                )
                for of in request.message.resource_metrics
            ]
        )
        for request in requests
    ]


def _metric(metric: metrics_pb2.Metric) -> sdk.Metric:
    cumulative = sdk.AggregationTemporality.CUMULATIVE
    kind = metric.WhichOneof("data")
    data: sdk.Sum | sdk.Gauge | sdk.ExponentialHistogram
    if kind == "exponential_histogram":
        histograms = [_histogram(one) for one in metric.exponential_histogram.data_points]
        data = sdk.ExponentialHistogram(histograms, cumulative)
    else:
        numbers = [
            sdk.NumberDataPoint(
                _plain(one.attributes), one.start_time_unix_nano, one.time_unix_nano,
                one.as_int if one.HasField("as_int") else one.as_double,
            )
            for one in (metric.sum if kind == "sum" else metric.gauge).data_points
        ]  # fmt: skip
        data = (
            sdk.Sum(numbers, cumulative, metric.sum.is_monotonic)
            if kind == "sum"
            else sdk.Gauge(numbers)
        )
    return sdk.Metric(metric.name, metric.description, metric.unit, data)


def _histogram(one: metrics_pb2.ExponentialHistogramDataPoint) -> sdk.ExponentialHistogramDataPoint:
    positive = sdk.Buckets(one.positive.offset, list(one.positive.bucket_counts))
    return sdk.ExponentialHistogramDataPoint(
        _plain(one.attributes), one.start_time_unix_nano, one.time_unix_nano, one.count, one.sum,
        one.scale, one.zero_count, positive, sdk.Buckets(0, []), 0, 0.0, 0.0,
    )  # fmt: skip


def _plain(attributes: Iterable[KeyValue]) -> dict[str, str | bool]:
    return {
        one.key: one.value.bool_value
        if one.value.HasField("bool_value")
        else one.value.string_value
        for one in attributes
    }


def counted(requests: Iterable[Request]) -> int:
    return sum(
        len(points_of(metric))
        for request in requests
        for of in request.message.resource_metrics
        for scope in of.scope_metrics
        for metric in scope.metrics
    )


def cpu_s(work: Callable[[], object]) -> float:
    """Return CPU seconds of the best of three."""
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def main() -> int:
    """Measure and print; exit 1 where a bound is broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hosts", type=int, default=300)
    hosts = parser.parse_args().hosts
    dice = np.random.default_rng(1)
    minutes: Iterator[Rows] = iter([fleet(hosts, minute, dice) for minute in range(5)])
    encoder = encoder_for(hosts)
    closed = iter(range(T0_NS + INTERVAL_NS, T0_NS + 9 * INTERVAL_NS, INTERVAL_NS))
    list(encoder.requests(next(minutes), next(closed)))  # streams begin, attributes are made
    kept: list[Request] = []

    def ours() -> None:
        kept[:] = encoder.requests(next(minutes), next(closed))

    ours_s = cpu_s(ours)
    points = sum(request.points for request in kept)
    assert points == counted(kept)
    assert max(request.points for request in kept) <= MAX_POINTS
    data = for_the_sdk(kept)
    sdk_s = cpu_s(lambda: [encode_metrics(one).SerializeToString() for one in data])
    raw = b"".join(request.data for request in kept)
    gzip_s = cpu_s(lambda: [gzip.compress(request.data, 6) for request in kept])
    packed = sum(len(gzip.compress(request.data, 6)) for request in kept)
    ratio = sdk_s / ours_s
    a_host = points / hosts
    cores = (ours_s + gzip_s) / hosts * FLEET_HOSTS / 60
    print(f"{hosts} hosts x {DEVICES} devices, {points} points, {a_host:.0f} a host and minute")
    print(f"{'way':34} {'points/s':>10} {'us/point':>9} {'B/point':>8}")
    for way, spent_s, size in (
        ("opentelemetry-sdk, data made before", sdk_s, len(raw)),
        ("chipwatt, from rows to bytes", ours_s, len(raw)),
        ("chipwatt, with gzip", ours_s + gzip_s, packed),
    ):
        rate = points / spent_s
        print(f"{way:34} {rate:10.0f} {1e6 / rate:9.2f} {size / points:8.1f}")
    print(f"largest request: {max(len(one.data) for one in kept)} B (limit {MAX_BYTES})")
    print(f"{FLEET_HOSTS} hosts at 60 s, extrapolated, gzip included: {cores:.3f} of a core")
    resident = stalled(lambda host, minute: device_windows(host, minute, dice), 50, STALL_MINUTES)
    grown_mib = (resident[-1] - resident[STALL_MINUTES // 3]) / 1024
    print(f"back end stalled for {STALL_MINUTES} min, 50 hosts: {resident[0] / 1024:.1f} MiB after "
          f"1, {resident[STALL_MINUTES // 3] / 1024:.1f} after a third, "
          f"{resident[-1] / 1024:.1f} at the end")  # fmt: skip
    is_good = ratio >= LEAST_RATIO and cores <= MOST_CORES and grown_mib <= MOST_GROWN_MIB
    print(f"{'ok' if is_good else 'BROKEN'}: {ratio:.1f} x the SDK a point (5 wanted), "
          f"{cores:.2f} of a core (0.5 allowed), {grown_mib:+.1f} MiB while stalled "
          f"({MOST_GROWN_MIB} allowed)")  # fmt: skip
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
