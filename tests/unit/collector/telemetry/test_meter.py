from __future__ import annotations

import pytest
from opentelemetry.proto.metrics.v1 import metrics_pb2

from chipwatt.collector.forecast.contract import Calibration, Predictor
from chipwatt.collector.otlp.table import Instrument
from chipwatt.collector.telemetry import table
from chipwatt.collector.telemetry.meter import CollectorMeter
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.records import Records
from chipwatt.v1.query_pb2 import GetCollectorStatusResponse
from fakes.telemetry_records import T0_S, a_batch, a_host, a_window

_DATA = {
    Instrument.COUNTER: "sum",
    Instrument.GAUGE: "gauge",
    Instrument.HISTOGRAM: "exponential_histogram",
}


RACK, HOST = 6, 8


def held(kind: int = RACK, quantile: float = 0.99) -> Calibration:
    """Return how a predictor has held."""
    return Calibration(Predictor.CONFORMAL, kind, 600, quantile, 60_480, 0.991, 0.0021)


def collected(
    meter: CollectorMeter,
) -> dict[str, metrics_pb2.Metric]:
    (of_resource,) = meter.collect().resource_metrics
    return {one.name: one for scope in of_resource.scope_metrics for one in scope.metrics}


def a_meter(
    statuses: list[GetCollectorStatusResponse], *calibrations: Calibration
) -> CollectorMeter:
    return CollectorMeter(
        lambda: statuses[-1],
        instance="box",
        version="1",
        unix_ns=lambda: (T0_S + 12) * NS_PER_S,
        calibrations=lambda: calibrations,
    )


def values(metric: metrics_pb2.Metric) -> dict[str, float]:
    data = metric.sum.data_points or metric.gauge.data_points
    return {
        " ".join(one.value.string_value for one in point.attributes): (
            point.as_int if point.HasField("as_int") else point.as_double
        )
        for point in data
    }


def test_every_metric_of_the_table_is_told_as_the_table_says() -> None:
    statuses = [GetCollectorStatusResponse(batches_stored=5)]
    meter = a_meter(statuses, held())
    meter.commits.on_commit([a_batch(a_host(1), Records(windows=(a_window(T0_S, 1),)))])
    found = collected(meter)
    meter.close()
    assert set(found) == {metric.name for metric in table.OF_COLLECTOR}
    for metric in table.OF_COLLECTOR:
        said = found[metric.name]
        assert (said.unit, said.description) == (metric.unit, metric.meaning)
        assert said.WhichOneof("data") == _DATA[metric.instrument], metric.name


def test_counters_count_since_the_start_and_gauges_tell_what_is() -> None:
    statuses = [GetCollectorStatusResponse(batches_stored=5, store_bytes=100, connected=1)]
    meter = a_meter(statuses)
    statuses.append(
        GetCollectorStatusResponse(batches_stored=9, refused=2, store_bytes=150, otlp_lag_ms=90_500)
    )
    found = collected(meter)
    meter.close()
    assert values(found["chipwatt.collector.batches"]) == {
        "stored": 4, "duplicate": 0, "conflict": 0, "refused": 2,
    }  # fmt: skip
    assert values(found["chipwatt.collector.store.size"]) == {"": 150}
    assert values(found["chipwatt.collector.otlp.lag"]) == {"": 90.5}
    assert found["chipwatt.collector.batches"].sum.is_monotonic


def test_a_commit_is_one_record_of_its_slowest_and_oldest() -> None:
    meter = a_meter([GetCollectorStatusResponse()])
    batches = [
        a_batch(a_host(1), Records(windows=(a_window(T0_S - 100 - at, 1),)), received_s=T0_S + at)
        for at in (0, 10)
    ]
    meter.commits.on_commit(batches)
    meter.commits.on_commit([])
    found = collected(meter)
    meter.close()
    (wait,) = found["chipwatt.collector.commit.wait"].exponential_histogram.data_points
    (lag,) = found["chipwatt.collector.ingest.lag"].exponential_histogram.data_points
    assert (wait.count, wait.sum) == (1, 12.0)
    assert (lag.count, lag.sum) == (1, 110.0)


def test_without_a_forecast_nothing_is_claimed() -> None:
    meter = a_meter([GetCollectorStatusResponse()])
    assert not set(collected(meter)) & {metric.name for metric in table.OF_FORECAST}
    meter.close()


def test_how_forecasts_held_is_told_by_predictor_kind_horizon_and_quantile() -> None:
    meter = a_meter([GetCollectorStatusResponse()], held(), held(HOST, 0.5))
    found = collected(meter)
    meter.close()
    for metric, value in zip(table.OF_FORECAST, (0.991, 0.0021, 60_480), strict=True):
        rules = ("conformal rack 600s 0.99", "conformal host 600s 0.5")
        assert values(found[metric.name]) == dict.fromkeys(rules, value)


def test_names_are_in_our_namespace_and_unique() -> None:
    names = [metric.name for metric in table.METRICS]
    assert len(names) == len(set(names))
    assert all(name.startswith("chipwatt.") for name in names)


def test_a_status_that_cannot_be_read_is_the_callers_affair() -> None:
    def broken() -> GetCollectorStatusResponse:
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        CollectorMeter(
            broken, instance="box", version="1", unix_ns=lambda: 0, calibrations=lambda: ()
        )
