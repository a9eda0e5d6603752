"""Bytes written by hand are what opentelemetry-proto reads and would have written."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Metric,
    NumberDataPoint,
    ScopeMetrics,
)

from chipwatt.collector.otlp import semconv, wire
from chipwatt.collector.otlp.request import MAX_POINTS, Request, RequestWriter, points_of
from chipwatt.collector.otlp.table import METRICS, Instrument
from fakes.otlp_reader import points

TIMES = st.integers(0, (1 << 63) - 1)
TEXTS = st.text(max_size=40)


def key_value(text: str) -> KeyValue:
    return KeyValue(key="k", value=AnyValue(string_value=text))


@given(
    st.lists(st.tuples(TEXTS, TIMES, TIMES, st.floats(allow_nan=False)), max_size=20),
    st.sampled_from(["", "t", "long" * 30]),
    st.booleans(),
)
def test_numbers(drawn: list[tuple[str, int, int, float]], tail: str, is_integer: bool) -> None:
    finite = [value if math.isfinite(value) and abs(value) < 2**63 else 0 for *_, value in drawn]
    values = np.array(finite).astype("<i8" if is_integer else "<f8")
    encoded = wire.numbers(
        [semconv.of_number([semconv.text("k", text)]) for text, *_ in drawn],
        semconv.of_number([semconv.text("k", tail)]) if tail else b"",
        np.array([start for _, start, _, _ in drawn], np.int64),
        np.array([time for _, _, time, _ in drawn], np.int64),
        values,
    )
    expected = [
        NumberDataPoint(
            attributes=[key_value(text), *([key_value(tail)] if tail else [])],
            start_time_unix_nano=start,
            time_unix_nano=time,
            **({"as_int": value} if is_integer else {"as_double": value}),
        )
        for (text, start, time, _), value in zip(drawn, values.tolist(), strict=True)
    ]
    assert list(Gauge.FromString(b"".join(encoded)).data_points) == expected


@given(
    TEXTS, TIMES, TIMES, st.integers(-4, 8), st.integers(-(1 << 30), 1 << 30),
    st.integers(0, 1 << 50), st.floats(0, 1e18), st.lists(st.integers(0, (1 << 64) - 1)),
)  # fmt: skip
def test_histograms(
    text: str, start: int, time: int, scale: int, offset: int, zero: int, weight: float,
    counts: list[int],
) -> None:  # fmt: skip
    (packed,) = wire.varints(np.array(counts, "<u8"), np.array([len(counts)]))
    attributes = wire.delimited(wire.HISTOGRAM_ATTRIBUTE, semconv.text("k", text))
    told = wire.Distribution(scale, offset, zero, zero + 7, weight, packed)
    encoded = wire.histogram(attributes, start, time, told)
    (found,) = ExponentialHistogram.FromString(encoded).data_points
    expected = ExponentialHistogramDataPoint(
        attributes=[key_value(text)], start_time_unix_nano=start, time_unix_nano=time,
        count=zero + 7, sum=weight, scale=scale, zero_count=zero,
    )  # fmt: skip
    if counts:
        expected.positive.offset = offset
        expected.positive.bucket_counts.extend(counts)
    assert found == expected


@given(st.lists(st.lists(st.integers(0, (1 << 64) - 1), max_size=6), min_size=1, max_size=9))
def test_varints_are_cut_where_asked(parts: list[list[int]]) -> None:
    flat = np.array([value for part in parts for value in part], "<u8")
    found = wire.varints(flat, np.array([len(part) for part in parts]))
    assert found == [b"".join(wire.varint(value) for value in part) for part in parts]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_says_its_kind(metric: object) -> None:
    (one,) = [each for each in METRICS if each is metric]
    encoded = wire.metric(wire.metric_head(one), one.instrument, [])
    (found,) = ScopeMetrics.FromString(encoded).metrics
    assert (found.name, found.unit, found.description) == (one.name, one.unit, one.meaning)
    kinds = {Instrument.GAUGE: "gauge", Instrument.HISTOGRAM: "exponential_histogram"}
    assert found.WhichOneof("data") == kinds.get(one.instrument, "sum")
    assert found.sum.is_monotonic == (one.instrument is Instrument.COUNTER)


def written(hosts: int, of_each: int) -> list[Request]:
    writer = RequestWriter("1")
    requests: list[Request] = []
    for host in range(hosts):
        resource = semconv.resource(f"{host:032x}", f"h{host}", version="1", namespace="")
        for metric in METRICS[:2]:
            named = semconv.of_number([semconv.text("hw.id", "x")])
            encoded = [wire.number(named, 1, 2 + n, float(n)) for n in range(of_each)]
            requests += writer.add(resource, metric, encoded)
    return [*requests, *writer.rest()]


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 20), st.integers(1, 700))
def test_requests_hold_every_point_once_and_not_too_many(hosts: int, of_each: int) -> None:
    requests = written(hosts, of_each)
    assert all(request.points <= MAX_POINTS for request in requests)
    found = [(p.host, p.metric, p.time_unix_ns) for p in points(r.message for r in requests)]
    assert len(found) == len(set(found)) == sum(request.points for request in requests)
    assert len(found) == 2 * hosts * of_each


@given(st.integers(1, 6), st.integers(1, 9))
def test_halves_are_the_whole(hosts: int, of_each: int) -> None:
    (whole,) = written(hosts, of_each)
    halves = whole.halves()
    assert sum(half.points for half in halves) == whole.points
    assert abs(halves[0].points - halves[1].points) <= 1
    assert [p for half in halves for p in points([half.message])] == list(points([whole.message]))
    for half in halves:
        hosts_of = [of.resource for of in half.message.resource_metrics]
        assert len(hosts_of) == len({one.SerializeToString() for one in hosts_of})


def test_a_metric_without_data_has_no_points() -> None:
    assert points_of(Metric(name="x")) == ()
