"""What a stalled back end costs in memory: a fleet is stored on, minute by minute, meanwhile."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from chipwatt.collector.otlp.config import OtlpConfig
from chipwatt.collector.otlp.export import Exporter
from chipwatt.collector.store.config import StoreConfig
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.clock import VirtualClock
from chipwatt.core.records import DeviceWindow
from chipwatt.core.settings import Duration
from fakes.device_windows import NS, T0_NS, Batches

Minute = Callable[[int, int], Sequence[DeviceWindow]]
"""Windows of (host, minute)."""


def resident_kib() -> int:
    """Return this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def stalled(windows: Minute, hosts: int, minutes: int) -> list[int]:
    """Return resident KiB after each minute stored while a peer took and never answered."""
    return asyncio.run(_stalled(windows, hosts, minutes))


async def _stalled(windows: Minute, hosts: int, minutes: int) -> list[int]:
    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        is_held.set()

    held: list[asyncio.StreamWriter] = []
    is_held = asyncio.Event()
    peer = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = peer.sockets[0].getsockname()[1]
    config = OtlpConfig(
        endpoint=f"http://127.0.0.1:{port}", protocol="http/protobuf", start="oldest",
        settle=Duration(0), timeout=Duration(3600 * NS),
    )  # fmt: skip
    clock, batches, resident = VirtualClock(T0_NS), Batches(), []
    with TemporaryDirectory() as folder:
        store = SqliteStore(StoreConfig(path=Path(folder)))
        (destination,) = config.destinations()
        exporter = Exporter(store, config, destination, clock=clock, poll_s=0.01)
        task = asyncio.create_task(exporter.run())
        for minute in range(minutes):
            batch = [batches.of(windows(host, minute), host.to_bytes(16)) for host in range(hosts)]
            await asyncio.to_thread(store.commit, batch)
            clock.sleep_until((minute + 1) * 60 * NS)
            await asyncio.wait_for(is_held.wait(), 10)
            resident.append(resident_kib())
        assert exporter.status().points_sent == 0
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        store.close()
    for writer in held:
        writer.transport.abort()
    peer.close()
    return resident
