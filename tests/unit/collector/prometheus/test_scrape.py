"""Pages, read back by another implementation of OpenMetrics."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1 import metrics_pb2
from prometheus_client import parser as plain_text
from prometheus_client.openmetrics import parser as open_metrics

from chipwatt.collector.prometheus.families import GAUGE_KEPT_NS, SUM_KEPT_NS
from chipwatt.collector.prometheus.scrape import Scrape, media_type
from chipwatt.collector.telemetry.messages import key_values

NOW_NS = 1_790_000_000_000_000_000
NS = 1_000_000_000

Read = Callable[[str], Iterable[Any]]
read_open: Read = open_metrics.text_string_to_metric_families
read_plain: Read = plain_text.text_string_to_metric_families


class Wall:
    """A wall clock that is set by hand."""

    def __init__(self) -> None:
        self.now_ns = NOW_NS

    def __call__(self) -> int:
        return self.now_ns


def a_request(
    value: float, *, age_s: int = 0, host: str = "alpha", **attributes: str
) -> ExportMetricsServiceRequest:
    """One gauge, one counter and one histogram of one host."""
    request = ExportMetricsServiceRequest()
    of_host = request.resource_metrics.add()
    of_host.resource.attributes.extend(key_values({"host.name": host, "service.name": "chipwatt"}))
    metrics = of_host.scope_metrics.add().metrics
    power = metrics.add(name="hw.power", unit="W", description='Power, "mean".')
    energy = metrics.add(name="hw.energy", unit="J", description="Energy.")
    energy.sum.is_monotonic = True
    profile = metrics.add(name="chipwatt.power", unit="W", description="Time at each power.")
    time_ns = NOW_NS - age_s * NS
    points: list[metrics_pb2.NumberDataPoint | metrics_pb2.ExponentialHistogramDataPoint] = [
        power.gauge.data_points.add(as_double=value),
        energy.sum.data_points.add(as_int=7),
        profile.exponential_histogram.data_points.add(scale=2, zero_count=1, count=4, sum=20.0),
    ]
    histogram = profile.exponential_histogram.data_points[0]
    histogram.positive.offset = 8
    histogram.positive.bucket_counts.extend([1, 2])
    for point in points:
        point.time_unix_nano = time_ns
        point.attributes.extend(key_values({"hw.id": "cpu/0/package", **attributes}))
    return request


def a_page(scrape: Scrape, *, is_open_metrics: bool = True) -> dict[str, list[tuple[object, ...]]]:
    """Return samples by name, as the other implementation reads them."""
    text = scrape.page(is_open_metrics=is_open_metrics, is_gzip=False).decode()
    read = read_open if is_open_metrics else read_plain
    found: dict[str, list[tuple[object, ...]]] = {}
    for family in read(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_a_page_is_open_metrics_with_units_and_types() -> None:
    scrape = Scrape(1000, Wall())
    scrape.take(a_request(412.5))
    page = scrape.page(is_open_metrics=True, is_gzip=False).decode()
    families = {one.name: one for one in read_open(page)}
    labels = {"host_name": "alpha", "hw_id": "cpu/0/package"}
    power, energy = families["hw_power_watts"], families["hw_energy_joules"]
    assert (power.type, power.unit, power.documentation) == ("gauge", "watts", 'Power, "mean".')
    assert [(one.labels, one.value) for one in power.samples] == [(labels, 412.5)]
    assert (energy.type, energy.samples[0].name) == ("counter", "hw_energy_joules_total")
    assert families["chipwatt_power_watts"].type == "histogram"


def test_the_older_format_says_the_same() -> None:
    scrape = Scrape(1000, Wall())
    scrape.take(a_request(412.5))
    assert a_page(scrape, is_open_metrics=False) == a_page(scrape)


def test_a_histogram_becomes_classic() -> None:
    scrape = Scrape(1000, Wall())
    scrape.take(a_request(1.0))
    buckets = {
        labels["le"]: value
        for labels, value in a_page(scrape)["chipwatt_power_watts_bucket"]
        if isinstance(labels, Mapping)
    }
    # Scale 2, buckets 8 and 9 hold what is in (4, 4.76] and (4.76, 5.66] W; one is at 0 W.
    assert (buckets["4.0"], buckets["5.656854249492381"], buckets["+Inf"]) == (1, 4, 4)


def test_only_what_is_newer_counts() -> None:
    scrape = Scrape(1000, Wall())
    for value, age_s in ((2.0, 10), (3.0, 0), (1.0, 60)):
        scrape.take(a_request(value, age_s=age_s))
    assert [value for _, value in a_page(scrape)["hw_power_watts"]] == [3.0]


def test_series_beyond_the_bound_are_left_out_and_counted() -> None:
    scrape = Scrape(35, Wall())
    for number in range(10):
        scrape.take(a_request(1.0, device=str(number)))
    page = a_page(scrape)
    shown = sum(len(samples) for name, samples in page.items() if "scrape" not in name)
    assert page["chipwatt_scrape_series"] == [({}, float(shown))]
    assert shown <= 35
    ((_, left_out),) = page["chipwatt_scrape_points_left_out"]
    assert left_out == 30 - len(page["hw_power_watts"]) - len(page["hw_energy_joules_total"]) - len(
        page.get("chipwatt_power_watts_count", [])
    )


def test_what_is_old_is_not_shown_as_if_it_were_so() -> None:
    wall = Wall()
    scrape = Scrape(1000, wall)
    scrape.take(a_request(1.0))
    wall.now_ns += GAUGE_KEPT_NS + 1
    page = a_page(scrape)
    assert "hw_power_watts" not in page
    assert page["hw_energy_joules_total"] == [
        ({"host_name": "alpha", "hw_id": "cpu/0/package"}, 7.0)
    ]
    wall.now_ns += SUM_KEPT_NS
    assert a_page(scrape)["chipwatt_scrape_series"] == [({}, 0.0)]


@given(st.text(max_size=30))
@settings(max_examples=60, deadline=None)
def test_any_text_comes_back_as_it_was(text: str) -> None:
    scrape = Scrape(1000, Wall())
    scrape.take(a_request(1.0, host=text.replace("\r", "")))
    ((labels, _),) = a_page(scrape)["hw_power_watts"]
    assert isinstance(labels, Mapping)
    assert labels["host_name"] == text.replace("\r", "")


def test_many_scrapes_at_once_are_one_page() -> None:
    wall = Wall()
    scrape = Scrape(1000, wall)
    scrape.take(a_request(1.0))
    first = scrape.page(is_open_metrics=True, is_gzip=True)
    scrape.take(a_request(2.0))
    assert scrape.page(is_open_metrics=True, is_gzip=True) is first
    wall.now_ns += NS
    assert b"} 2.0\n" in gzip.decompress(scrape.page(is_open_metrics=True, is_gzip=True))


def test_who_asks_for_open_metrics_gets_it() -> None:
    asked = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
    assert media_type(asked)[1]
    assert media_type("")[0].startswith("text/plain; version=0.0.4")
