"""From the store to a receiver that refuses, forgets, stalls and comes back: once and in order."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from chipwatt.collector.otlp.config import OtlpConfig
from chipwatt.collector.otlp.export import Exporter
from chipwatt.collector.otlp.sender import Sender
from chipwatt.collector.store.config import StoreConfig
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.clock import VirtualClock
from chipwatt.core.model import Domain
from chipwatt.core.settings import Duration
from fakes.device_windows import CPU, HOST_A, HOST_B, NS, T0_NS, Batches, a_run, a_window
from fakes.otlp_reader import increases, points
from fakes.otlp_sink import Answer, OtlpSink

MINUTE_NS = 60 * NS
GPU_A = (HOST_A.hex(), "gpu/GPU-12345678-9abc-def0-1122-334455667788/board")
POLL_S = 0.01


class Stage:
    """A store, a clock that is set by hand, and exporters that come and go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = SqliteStore(StoreConfig(path=folder / "store"))
        self.clock = VirtualClock(T0_NS)
        self.batches = Batches()
        self.stored_uj = 0

    def minute(self, index: int, energy_uj: int = 1_000_001, *, of: int = 6) -> None:
        """Commit a minute of one GPU, a batch a window, as an agent would send them."""
        base_uj = 10**12 + 6 * energy_uj * index
        for window in a_run([energy_uj] * of, base_uj=base_uj, at_s=60 * index):
            self.store.commit([self.batches.of([window])])
        self.stored_uj += of * energy_uj

    def config(self, endpoint: str, start: str = "oldest") -> OtlpConfig:
        return OtlpConfig(
            endpoint=endpoint, start=start, settle=Duration(10 * NS), timeout=Duration(2 * NS)
        )

    @asynccontextmanager
    async def exporting(
        self, endpoint: str, start: str = "oldest", name: str = ""
    ) -> AsyncIterator[Exporter]:
        """Run an exporter inside the block; on leaving it stops dead."""
        config = self.config(endpoint, start)
        (destination,) = config.destinations()
        destination = replace(destination, name=name)
        sender = Sender(destination, delays=lambda: itertools.repeat(POLL_S))
        exporter = Exporter(
            self.store,
            config,
            destination,
            clock=self.clock,
            folder=self.folder / "otlp",
            sender=sender,
            poll_s=POLL_S,
        )
        task = asyncio.create_task(exporter.run())
        try:
            yield exporter
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    def at_minute(self, index: int) -> None:
        """Set the clock so that ``index`` minutes are over and settled."""
        self.clock.sleep_until(index * MINUTE_NS + 10 * NS)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.store.close()


async def until(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110  what is waited for happens in other threads, too
            await asyncio.sleep(POLL_S)


def joules(stage: Stage) -> Fraction:
    return Fraction(stage.stored_uj, 10**6)


def assert_all_arrived(stage: Stage, sink: OtlpSink) -> None:
    """Every stored joule is there, once, and each series came in the order of time."""
    slack = Fraction(1, 10**9)  # doubles near 10^6 J are 1.2e-10 J apart
    assert abs(increases(sink.taken, "hw.energy")[GPU_A] - joules(stage)) < slack
    (host_j,) = increases(sink.taken, "hw.host.energy").values()
    assert 0 <= joules(stage) - host_j < 1
    for metric in ("hw.energy", "hw.power", "hw.host.energy", "hw.host.power"):
        times = [p.time_unix_ns for p in points(sink.taken) if p.metric == metric]
        assert times == sorted(set(times)), metric


def test_a_point_a_minute_as_time_goes_by(stage: Stage) -> None:
    async def main(sink: OtlpSink) -> None:
        async with stage.exporting(sink.endpoint) as exporter:
            for minute in range(3):
                stage.minute(minute)
                assert len(sink.taken) == minute
                stage.at_minute(minute + 1)
                await until(lambda: exporter.status().points_sent == 7 * len(sink.taken) + 2)
                await until(lambda expected=minute + 1: len(sink.taken) == expected)  # type: ignore[misc]
            await until(lambda: exporter.status().lag_ms == 10_000)

    with OtlpSink() as sink:
        asyncio.run(main(sink))
    assert_all_arrived(stage, sink)
    power = [p.value for p in points(sink.taken) if p.metric == "hw.power"]
    assert power == [6 * 1_000_001 / 60e6] * 3


def test_an_endpoint_that_refuses_gets_everything_when_it_comes_up(stage: Stage) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"

    async def main() -> OtlpSink:
        async with stage.exporting(f"http://{address}") as exporter:
            for minute in range(4):
                stage.minute(minute)
                stage.at_minute(minute + 1)
                await until(lambda n=minute: exporter.status().retries > n)  # type: ignore[misc]
            assert exporter.status().points_sent == 0
            assert exporter.status().lag_ms == 250_000
            with OtlpSink(address) as sink:
                await until(lambda: exporter.status().lag_ms == 10_000)
                return sink

    assert_all_arrived(stage, asyncio.run(main()))


def test_a_backlog_is_told_minute_by_minute(stage: Stage) -> None:
    for minute in range(20):
        stage.minute(minute)
    stage.at_minute(20)

    async def main(sink: OtlpSink) -> None:
        async with stage.exporting(sink.endpoint) as exporter:
            await until(lambda: exporter.status().lag_ms == 10_000)

    with OtlpSink() as sink:
        asyncio.run(main(sink))
    assert_all_arrived(stage, sink)
    spans = [p.time_unix_ns - p.start_unix_ns for p in points(sink.taken) if p.metric == "hw.power"]
    assert spans == [MINUTE_NS] * 20


def test_newest_leaves_the_past_alone_but_nothing_after_a_restart(stage: Stage) -> None:
    stage.minute(0)
    stage.stored_uj = 0

    async def main(sink: OtlpSink) -> None:
        async with stage.exporting(sink.endpoint, "newest"):
            await until(lambda: stage.store.cursor("otlp.closed") >= 10**18)
        stage.minute(1)
        stage.at_minute(2)
        async with stage.exporting(sink.endpoint, "newest"):
            await asyncio.to_thread(sink.wait_for, 1)

    with OtlpSink() as sink:
        asyncio.run(main(sink))
    assert_all_arrived(stage, sink)


def test_a_stalled_receiver_stops_neither_commits_nor_the_loop(stage: Stage) -> None:
    async def main(sink: OtlpSink) -> None:
        stage.minute(0)
        stage.at_minute(1)
        async with stage.exporting(sink.endpoint) as exporter:
            await asyncio.to_thread(sink.wait_for, 1)
            for minute in range(1, 4):
                await asyncio.to_thread(stage.minute, minute)
            assert exporter.status().points_sent == 0
            assert stage.store.totals().device_windows == 24
            stage.at_minute(4)
            await until(lambda: exporter.status().lag_ms == 10_000)

    with OtlpSink("127.0.0.1:0", Answer(hold_s=0.5)) as sink:
        asyncio.run(main(sink))
    assert_all_arrived(stage, sink)


def test_late_data_goes_out_under_its_own_time(stage: Stage) -> None:
    late = a_window(30, 4_000_000, 9_000_000, device=CPU, domain=Domain.PACKAGE)

    async def main(sink: OtlpSink) -> None:
        stage.minute(0)
        stage.at_minute(1)
        async with stage.exporting(sink.endpoint) as exporter:
            await until(lambda: exporter.status().lag_ms == 10_000)
            stage.store.commit([stage.batches.of([late], HOST_B)])
            stage.at_minute(2)
            await until(lambda: exporter.status().lag_ms == 10_000)

    with OtlpSink() as sink:
        asyncio.run(main(sink))
    (point,) = [p for p in points(sink.taken) if p.metric == "hw.power" and p.host == HOST_B.hex()]
    assert (point.time_unix_ns, point.value) == (T0_NS + 40 * NS, 0.4)
