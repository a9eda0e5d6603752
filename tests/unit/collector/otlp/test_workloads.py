"""Workloads on their way to a back end."""

from __future__ import annotations

import asyncio
import stat
import time
from pathlib import Path

import pytest

from chipwatt.collector.egress.config import Tier
from chipwatt.collector.egress.workloads import confidential
from chipwatt.collector.otlp.request import Request
from chipwatt.collector.otlp.workload_table import WORKLOAD_METRICS
from chipwatt.collector.otlp.workloads import WorkloadEncoder, WorkloadExport
from chipwatt.collector.store.workloads import Minute
from chipwatt.core.errors import StoreError
from fakes.otlp_reader import points
from fakes.workload_records import LIMIT_MW, a_workload

HOST = b"h" * 16
ENCODER = WorkloadEncoder(version="1", namespace="", tier=Tier.DP)


class Book:
    """Minutes as a store gives them."""

    def __init__(self, *minutes: int) -> None:
        self.minutes = [Minute(n, HOST, (a_workload(1, 30_000_000 + n),)) for n in minutes]

    def newest(self) -> int:
        return max((minute.position for minute in self.minutes), default=0)

    def follow(self, after: int, *, limit: int = 1000) -> list[Minute]:
        return [minute for minute in self.minutes if minute.position > after][:limit]


class Sink:
    """Takes requests until it has enough."""

    def __init__(self, enough: int) -> None:
        self.requests: list[Request] = []
        self._enough = enough
        self.has_enough = asyncio.Event()
        self.is_closed = False

    async def send(self, request: Request) -> None:
        self.requests.append(request)
        if len(self.requests) >= self._enough:
            self.has_enough.set()

    async def close(self) -> None:
        self.is_closed = True


def test_points_name_the_workload_and_the_tier() -> None:
    (request,) = ENCODER.requests(confidential(Book(1).minutes), {HOST: "node-1"})
    found = list(points([request.message]))
    assert {point.metric for point in found} == {metric.name for metric in WORKLOAD_METRICS}
    assert len(found) == request.points == 8
    (power,) = [p.value for p in found if p.metric == "chipwatt.workload.power"]
    assert power == LIMIT_MW * 8 // 15 / 1000
    shares = [p.value for p in found if p.metric == "chipwatt.workload.above"]
    assert shares == [1, 1, 1, 0.5, 0, 0, 0]
    (of_resource,) = request.message.resource_metrics
    resource = {a.key: a.value.string_value for a in of_resource.resource.attributes}
    assert resource["host.name"] == "node-1"
    assert resource["chipwatt.egress"] == "dp"
    metric = of_resource.scope_metrics[0].metrics[1]
    attributes = [a.key for a in metric.gauge.data_points[0].attributes]
    assert attributes == list(WORKLOAD_METRICS[1].attributes)


def wait_for(place: Path, position: int) -> None:
    deadline_s = time.monotonic() + 60
    while int(place.read_text()) < position:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def run(book: Book, sink: Sink, place: Path) -> None:
    async def until_enough() -> None:
        export = WorkloadExport(book, confidential, ENCODER, sink, dict, place)
        task = asyncio.create_task(export.run())
        await asyncio.wait_for(sink.has_enough.wait(), 60)
        await asyncio.to_thread(wait_for, place, book.newest())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(until_enough())


def test_an_export_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    place = tmp_path / "otlp" / "default.workloads"
    place.parent.mkdir()
    place.write_text("1\n")
    first = Sink(1)
    run(Book(1, 2, 3), first, place)
    assert sum(request.points for request in first.requests) == 16
    assert first.is_closed
    second = Sink(1)
    run(Book(1, 2, 3, 4), second, place)
    assert sum(request.points for request in second.requests) == 8


def test_a_place_that_cannot_be_kept_is_a_sentence_and_no_litter(tmp_path: Path) -> None:
    place = tmp_path / "otlp" / "default.workloads"
    export = WorkloadExport(Book(1), confidential, ENCODER, Sink(1), dict, place)
    export._keep(7)
    assert (place.read_text(), stat.S_IMODE(place.stat().st_mode)) == ("7\n", 0o600)
    place.unlink()
    place.mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        export._keep(8)
    assert list(place.parent.iterdir()) == [place]
