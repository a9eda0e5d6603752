"""Exporters that end and begin again: nothing is lost, and what comes twice is the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import grpc
import pytest

from chipwatt.collector.store.config import StoreConfig
from chipwatt.collector.store.contract import Block
from chipwatt.collector.store.sqlite_store import SqliteStore
from fakes.device_windows import HOST_A, HOST_B, T0_NS, a_run
from fakes.otlp_reader import increases, points
from fakes.otlp_sink import Answer, OtlpSink
from integration.test_otlp_export import (
    GPU_A,
    MINUTE_NS,
    Stage,
    assert_all_arrived,
    joules,
    until,
)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.store.close()


def test_a_restart_loses_nothing_and_repeats_nothing_that_was_answered(stage: Stage) -> None:
    async def main(sink: OtlpSink) -> None:
        for minute in range(4):
            stage.minute(minute)
            stage.at_minute(minute + 1)
            async with stage.exporting(sink.endpoint) as exporter:
                await until(lambda: exporter.status().lag_ms == 10_000)

    with OtlpSink() as sink:
        asyncio.run(main(sink))
    assert abs(increases(sink.taken, "hw.energy")[GPU_A] - joules(stage)) < Fraction(1, 10**9)
    (host_j,) = increases(sink.taken, "hw.host.energy").values()
    assert 0 <= joules(stage) - host_j < 1
    begun = {p.start_unix_ns for p in points(sink.taken) if p.metric == "hw.host.energy"}
    assert begun == {T0_NS}, "sums go on"
    gauges = [(p.hw_id, p.time_unix_ns) for p in points(sink.taken) if p.metric == "hw.power"]
    assert len(gauges) == len(set(gauges)) == 4


def test_windows_of_an_unfinished_interval_survive_a_restart(stage: Stage) -> None:
    async def main(sink: OtlpSink) -> None:
        stage.minute(0)
        stage.minute(1, of=3)
        stage.at_minute(1)
        async with stage.exporting(sink.endpoint) as exporter:
            await until(lambda: exporter.status().lag_ms == 10_000)
        stage.store.commit([stage.batches.of(a_run([7, 7], base_uj=10**9, at_s=90), HOST_B)])
        for window in a_run([1_000_001] * 3, base_uj=10**12 + 9 * 1_000_001, at_s=90):
            stage.store.commit([stage.batches.of([window])])
        stage.stored_uj += 3 * 1_000_001
        stage.at_minute(2)
        async with stage.exporting(sink.endpoint) as exporter:
            await until(lambda: exporter.status().lag_ms == 10_000)

    with OtlpSink() as sink:
        asyncio.run(main(sink))
    arrived = increases(sink.taken, "hw.energy")
    assert abs(arrived[GPU_A] - joules(stage)) < Fraction(1, 10**9)
    spans = [
        p.time_unix_ns - p.start_unix_ns
        for p in points(sink.taken)
        if p.metric == "hw.power" and p.host == HOST_A.hex()
    ]
    assert spans == [MINUTE_NS, MINUTE_NS]


def test_an_unanswered_batch_comes_again_the_same(stage: Stage) -> None:
    """The answer is lost, then the exporter dies: the counter's points are idempotent."""

    async def main(sink: OtlpSink) -> None:
        stage.minute(0)
        stage.at_minute(1)
        async with stage.exporting(sink.endpoint):
            await asyncio.to_thread(sink.wait_for, 1)
            await until(lambda: len(sink.offered) == 2)
        async with stage.exporting(sink.endpoint) as exporter:
            await until(lambda: exporter.status().lag_ms == 10_000)

    answers = [Answer(grpc.StatusCode.UNAVAILABLE, is_kept=True)]
    answers += [Answer(grpc.StatusCode.UNAVAILABLE, retry_after_s=300)]
    with OtlpSink("127.0.0.1:0", *answers) as sink:
        asyncio.run(main(sink))
    assert len(sink.taken) == 2
    assert sink.taken[0] == sink.taken[1]
    assert increases(sink.taken, "hw.energy")[GPU_A] == pytest.approx(float(joules(stage)))


def test_who_is_killed_before_the_cursor_moved_says_the_same_again(stage: Stage) -> None:
    """Where sums began anew instead, a back end would read a reset of everything before."""

    async def main(sink: OtlpSink) -> None:
        stage.minute(0)
        stage.at_minute(1)
        async with stage.exporting(sink.endpoint) as exporter:
            await until(lambda: exporter.status().lag_ms == 10_000)
            stage.minute(1)
            stage.at_minute(2)
            await until(lambda: len(sink.offered) == 3)
        async with stage.exporting(sink.endpoint) as exporter:
            await until(lambda: exporter.status().lag_ms == 10_000)

    answers = [Answer(), Answer(grpc.StatusCode.UNAVAILABLE, is_kept=True)]
    answers += [Answer(grpc.StatusCode.UNAVAILABLE, retry_after_s=300)]
    with OtlpSink("127.0.0.1:0", *answers) as sink:
        asyncio.run(main(sink))
    _, once, again = sink.taken
    assert once == again
    (host_j,) = increases(sink.taken, "hw.host.energy").values()
    assert 0 <= joules(stage) - host_j < 1


class Overtaken(SqliteStore):
    """A store in which a minute is stored, and passes, while a reader is on its way back."""

    happens: Callable[[], None] | None = None

    def follow(self, after: int, *, limit: int = 100) -> list[Block]:
        blocks = super().follow(after, limit=limit)
        happens, self.happens = self.happens, None
        if happens is not None:
            happens()
        return blocks


def test_what_is_stored_in_time_is_never_late(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.store.close()
    stage.store = store = Overtaken(StoreConfig(path=tmp_path / "store"))

    def happens() -> None:
        stage.minute(0)
        stage.at_minute(1)

    async def main(sink: OtlpSink) -> None:
        async with stage.exporting(sink.endpoint) as exporter:
            await until(lambda: exporter.status().lag_ms == 10_000)

    store.happens = happens
    with OtlpSink() as sink:
        asyncio.run(main(sink))
    store.close()
    assert_all_arrived(stage, sink)


def test_sums_that_are_lost_begin_anew(stage: Stage) -> None:
    async def main(sink: OtlpSink) -> None:
        for minute in range(2):
            stage.minute(minute)
            stage.at_minute(minute + 1)
            async with stage.exporting(sink.endpoint) as exporter:
                await until(lambda: exporter.status().lag_ms == 10_000)
            (stage.folder / "otlp" / "default.sums").write_bytes(b"chipwatt otlp sums 1\nno")

    with OtlpSink() as sink:
        asyncio.run(main(sink))
    starts = [p.start_unix_ns for p in points(sink.taken) if p.metric == "hw.host.energy"]
    assert len(set(starts)) == 2
    assert starts == sorted(starts)
    assert abs(increases(sink.taken, "hw.energy")[GPU_A] - joules(stage)) < Fraction(1, 10**9)
