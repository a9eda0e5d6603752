"""Row 19: few descriptors, little memory, twice the agents at once."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence

import grpc
import grpc.aio

from chipwatt.core.wire import SCHEMA_VERSION
from chipwatt.v1 import telemetry_pb2 as pb
from chipwatt.v1.telemetry_pb2_grpc import TelemetryServiceStub
from e2e.faults.bench import Bench
from e2e.faults.order import batch_of, recorded
from e2e.faults.rows import Case, Counts, row
from e2e.programs import until


async def _crowd(address: str, hosts: int, batches: Sequence[pb.Batch], seconds: float) -> int:
    """Connect as many hosts at once, all sending as fast as they are let; returns acked ones."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    ends_s = time.monotonic() + seconds
    acked = 0

    async def one(number: int) -> None:
        nonlocal acked
        chance = random.Random(number)
        while time.monotonic() < ends_s:
            async with grpc.aio.insecure_channel(address, options=options) as channel:
                call = TelemetryServiceStub(channel).Stream()
                try:
                    hello = pb.Hello(
                        schema_version=SCHEMA_VERSION,
                        host_id=(7 << 64 | number).to_bytes(16),
                        boot_id=batches[0].boot_id,
                    )
                    await call.write(pb.StreamRequest(hello=hello))
                    await call.read()
                    for batch in batches:
                        await call.write(pb.StreamRequest(batch=batch))
                    while True:
                        answer = await call.read()
                        if not isinstance(answer, pb.StreamResponse):
                            break
                        if answer.ack.sequence == batches[-1].sequence:
                            acked += 1
                            return
                except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    await asyncio.sleep(chance.uniform(0.1, 1.0))
                finally:
                    call.cancel()

    await asyncio.gather(*(one(number) for number in range(hosts)))
    return acked


def _stampede(
    case: Case, bench: Bench, hosts: int, limits: Sequence[str] = ()
) -> tuple[int, float]:
    """Let a crowd in beside a host that behaves; returns acked hosts, that host's longest wait."""
    batches = [batch_of(record) for record in recorded(bench, 3)]
    bench.start_collector(prefix=limits)
    host = bench.host
    host.start(bench.address)
    bench.more(1)
    host.play()
    longest_s = 0.0
    acked_at_s, acked = time.monotonic(), 0

    async def both() -> int:
        nonlocal longest_s, acked_at_s, acked
        crowd = asyncio.create_task(_crowd(bench.address, hosts, batches, case.pick(15, 120)))
        while not crowd.done():
            await asyncio.sleep(0.2)
            now = host.running.status().get("uplink", {}).get("acked", 0)
            if now != acked:
                acked, acked_at_s = now, time.monotonic()
            longest_s = max(longest_s, time.monotonic() - acked_at_s)
        return await crowd

    return asyncio.run(both()), longest_s


@row(19, "stampede: many agents connect at once and send all they have")
def stampede(case: Case) -> Counts:
    hosts = case.pick(60, 400)
    with Bench(case) as bench:
        served, longest_s = _stampede(case, bench, hosts)
        assert served == hosts, f"{served} of {hosts} hosts were served"
        assert longest_s < case.pick(5, 10), f"I6 a host that behaves waited {longest_s:.1f} s"
        counts = bench.finish(hosts, may_lose=lambda _: True)
        counts.note = f"{hosts} at once; another host's acks never {longest_s:.1f} s apart"
        return counts


@row(19, "collector with 96 descriptors and a stampede: sheds, lives, serves the rest")
def descriptors(case: Case) -> Counts:
    hosts = case.pick(150, 300)
    with Bench(case) as bench:
        limits = ["prlimit", "--nofile=96:96", "--"]
        served, longest_s = _stampede(case, bench, hosts, limits)
        assert bench.running.process.poll() is None, bench.running.said()[-500:]
        until(lambda: bench.host.running.status()["spool"]["unacked"] <= 1, 60, "acks")
        counts = bench.finish(hosts, may_lose=lambda _: True)
        counts.note = f"{served} of {hosts} served, acks at most {longest_s:.1f} s apart"
        return counts


@row(19, "agent with 24 descriptors")
def little_agent(case: Case) -> Counts:
    with Bench(case) as bench:
        bench.start_collector()
        host = bench.host
        limits = ["prlimit", "--nofile=24:24", "--"]
        host.start(bench.address, prefix=limits)
        bench.more(2)
        host.play()
        bench.more(case.pick(3, 30))
        bench.kill_collector()
        bench.start_collector()
        bench.more(1)
        return bench.finish()
