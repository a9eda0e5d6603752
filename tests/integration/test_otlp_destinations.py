"""Several receivers at once: each at its own pace, from a place of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from fakes.device_windows import HOST_A, HOST_B, NS, a_run
from fakes.otlp_reader import increases, points
from fakes.otlp_sink import Answer, OtlpSink
from integration.test_otlp_export import (
    GPU_A,
    Stage,
    assert_all_arrived,
    joules,
    until,
)

DAY_S = 86_400


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.store.close()


def test_a_dead_destination_delays_no_other_and_gets_all_when_it_comes_up(stage: Stage) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"

    async def main(live: OtlpSink) -> OtlpSink:
        async with (
            stage.exporting(f"http://{address}", name="dead") as dead,
            stage.exporting(live.endpoint, name="live") as other,
        ):
            for minute in range(30):
                stage.minute(minute)
                stage.at_minute(minute + 1)
                await until(lambda: other.status().lag_ms == 10_000)
                assert len(live.taken) == minute + 1
            assert dead.status().points_sent == 0
            assert dead.status().lag_ms == 30 * 60_000 + 10_000
            assert stage.store.cursor("otlp/dead") < stage.store.cursor("otlp/live")
            with OtlpSink(address) as late:
                await until(lambda: dead.status().lag_ms == 10_000)
                assert stage.store.cursor("otlp/dead") == stage.store.cursor("otlp/live")
                return late

    with OtlpSink() as live:
        late = asyncio.run(main(live))
    assert_all_arrived(stage, live)
    assert_all_arrived(stage, late)


def test_a_destination_that_is_restarted_goes_on_by_itself(stage: Stage) -> None:
    async def main(one: OtlpSink, two: OtlpSink) -> None:
        async with stage.exporting(one.endpoint, name="one") as first:
            for minute in range(4):
                stage.minute(minute)
                stage.at_minute(minute + 1)
                async with stage.exporting(two.endpoint, name="two") as second:
                    await until(lambda exporter=second: exporter.status().lag_ms == 10_000)  # type: ignore[misc]
            await until(lambda: first.status().lag_ms == 10_000)

    with OtlpSink() as one, OtlpSink() as two:
        asyncio.run(main(one, two))
    for sink in (one, two):
        starts = {p.start_unix_ns for p in points(sink.taken) if p.metric == "hw.energy"}
        assert len(starts) == 1, "a stream's start outlives its process"
        assert increases(sink.taken, "hw.energy")[GPU_A] == pytest.approx(
            float(joules(stage)), abs=1e-6
        )


def test_refusals_with_a_hint_hold_only_who_gave_it(stage: Stage) -> None:
    busy = [Answer(grpc.StatusCode.RESOURCE_EXHAUSTED, retry_after_s=300)]

    async def main(slow: OtlpSink, quick: OtlpSink) -> None:
        async with (
            stage.exporting(slow.endpoint, name="slow") as held,
            stage.exporting(quick.endpoint, name="quick") as other,
        ):
            stage.minute(0)
            stage.at_minute(1)
            await until(lambda: other.status().lag_ms == 10_000)
            await until(lambda: held.status().retries == 1)
            assert held.status().points_sent == 0

    with OtlpSink("127.0.0.1:0", *busy) as slow, OtlpSink() as quick:
        asyncio.run(main(slow, quick))


def test_hosts_whose_clocks_are_wrong_hold_nobody_and_lose_nothing(stage: Stage) -> None:
    """One a day behind, one a day ahead: their energy arrives under the time that they said."""
    skewed = {HOST_B: -DAY_S, bytes(16): DAY_S}

    async def main(sink: OtlpSink) -> None:
        async with stage.exporting(sink.endpoint) as exporter:
            for minute in range(3):
                stage.minute(minute)
                for host, ahead_s in skewed.items():
                    run = a_run([10**6] * 6, base_uj=6 * 10**6 * minute, at_s=60 * minute)
                    moved = [replace(w, start_unix_ns=w.start_unix_ns + ahead_s * NS) for w in run]
                    stage.store.commit([stage.batches.of(moved, host)])
                stage.at_minute(minute + 1)
                await until(lambda: exporter.status().lag_ms == 10_000)
            position = stage.store.cursor("otlp")
            assert not stage.store.follow(position), "a wrong clock holds no cursor"

    with OtlpSink() as sink:
        asyncio.run(main(sink))
    arrived = increases(sink.taken, "hw.energy")
    assert arrived[GPU_A] == pytest.approx(float(joules(stage)), abs=1e-6)
    for host, ahead_s in skewed.items():
        assert arrived[host.hex(), GPU_A[1]] == 18
        power = [p for p in points(sink.taken) if p.metric == "hw.power" and p.host == host.hex()]
        assert [p.value for p in power] == [0.1] * 3
        first_ns = min(p.start_unix_ns for p in power)
        own = min(p.start_unix_ns for p in points(sink.taken) if p.host == HOST_A.hex())
        assert first_ns - own == ahead_s * NS
