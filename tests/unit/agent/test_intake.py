from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Coroutine
from itertools import repeat
from pathlib import Path
from typing import Any

from chipwatt.agent.intake import GROUP_BYTES, ROOM_BYTES, Intake
from chipwatt.agent.spool.record import START
from chipwatt.agent.spool.spool import Spool
from chipwatt.agent.spool.threaded import ThreadedSpool
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.wire import MAX_PAYLOAD_BYTES
from fakes.lines import line, line_energy_uj, windows_in
from fakes.spools import InProcess

BOOT = bytes(range(16))


class Disk:
    """Counts fsyncs, and refuses them on demand."""

    def __init__(self) -> None:
        self.full = False
        self.syncs = 0

    def sync(self, descriptor: int) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.syncs += 1
        os.fsync(descriptor)


def run(test: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(30):
            await test

    asyncio.run(limited())


async def spooled(spool: ThreadedSpool) -> list[bytes]:
    return [record.payload for record in await spool.read_from(START, 1 << 30)]


async def stop(running: asyncio.Task[None], spool: ThreadedSpool) -> None:
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await spool.close()


def test_payloads_that_come_together_share_an_fsync(tmp_path: Path) -> None:
    async def test() -> None:
        disk = Disk()
        spool = ThreadedSpool(Spool(tmp_path, BOOT, sync=disk.sync))
        intake = Intake(spool)
        for number in range(100):
            intake.put(b"%d" % number, b"memory %d" % number)
        assert intake.memory == b"memory 99"
        running = asyncio.create_task(intake.run())
        await intake.flush()
        assert disk.syncs == 3  # segment, its name, one group
        assert await spooled(spool) == [b"%d" % number for number in range(100)]
        assert spool.memory == b"memory 99"
        assert (intake.received, intake.dropped, len(intake)) == (100, 0, 0)
        await stop(running, spool)

    run(test())


def test_a_full_disk_is_waited_for_and_nothing_is_lost(tmp_path: Path) -> None:
    async def test() -> None:
        disk = Disk()
        spool = ThreadedSpool(Spool(tmp_path, BOOT, sync=disk.sync))
        intake = Intake(spool, retries=lambda: repeat(0.01))
        running = asyncio.create_task(intake.run())
        intake.put(b"a", b"")
        await intake.flush()
        disk.full = True
        intake.put(b"b", b"")
        while not intake.problem:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.005)
        assert "No space left on device" in intake.problem
        intake.put(b"c", b"")
        await intake.room()
        assert len(intake) == 2
        disk.full = False
        await intake.flush()
        assert intake.problem == ""
        records = await spool.read_from(START, 1 << 20)
        records += await spool.read_from(records[-1].position, 1 << 20)
        assert [record.payload for record in records] == [b"a", b"b", b"c"]
        assert records[0].epoch != records[1].epoch == records[2].epoch
        await stop(running, spool)

    run(test())


def test_what_cannot_be_merged_is_dropped_from_a_full_memory(tmp_path: Path) -> None:
    async def test() -> None:
        disk = Disk()
        disk.full = True
        spool = ThreadedSpool(Spool(tmp_path, BOOT, sync=disk.sync, merging=InProcess()))
        intake = Intake(spool, hold_bytes=10_000, retries=lambda: repeat(0.01))
        running = asyncio.create_task(intake.run())
        sent = [bytes([255, number]) * 500 for number in range(50)]  # no payload is like this
        for payload in sent:
            intake.put(payload, b"")
            await asyncio.sleep(0.001)
        disk.full = False
        await intake.flush()
        kept = await spooled(spool)
        assert 1 <= len(kept) <= 11
        assert intake.dropped == 50 - len(kept)
        assert kept[-9:] == sent[-9:]
        await stop(running, spool)

    run(test())


def test_an_hour_without_a_disk_fits_into_a_small_memory(tmp_path: Path) -> None:
    """Oldest windows coarser, newest not, energy exact to the µJ, the last memory kept."""

    async def test() -> None:
        disk = Disk()
        disk.full = True
        spool = ThreadedSpool(Spool(tmp_path, BOOT, sync=disk.sync, merging=InProcess()))
        intake = Intake(spool, hold_bytes=32 << 10, retries=lambda: repeat(0.001))
        running = asyncio.create_task(intake.run())
        for number, payload in enumerate(line(360)):
            intake.put(payload, b"memory %d" % number)
            while intake.held.is_crowded:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.002)
        assert intake.held.merged > 100
        assert intake.held.bytes <= 32 << 10
        disk.full = False
        await intake.flush()
        assert intake.dropped == 0
        assert spool.memory == b"memory 359"
        windows = windows_in(await spooled(spool))
        assert sum(window.energy_uj for window in windows) == line_energy_uj(360)
        assert sum(window.duration_ns for window in windows) == 3600 * NS_PER_S
        durations = [window.duration_ns for window in windows]
        assert durations[0] >= 60 * NS_PER_S
        assert durations[-1] == 10 * NS_PER_S
        await stop(running, spool)

    run(test())


def test_a_payload_that_no_collector_takes_is_counted_not_spooled(tmp_path: Path) -> None:
    async def test() -> None:
        spool = ThreadedSpool(Spool(tmp_path, BOOT))
        intake = Intake(spool)
        intake.put(bytes(MAX_PAYLOAD_BYTES + 1), b"later memory")
        assert (intake.dropped, len(intake), intake.memory) == (1, 0, b"later memory")
        await spool.close()

    run(test())


def test_who_is_faster_than_the_disk_waits(tmp_path: Path) -> None:
    async def test() -> None:
        spool = ThreadedSpool(Spool(tmp_path, BOOT))
        intake = Intake(spool)
        size = 200_000
        for _ in range(ROOM_BYTES // size + 1):
            intake.put(bytes(size), b"")
        waiting = asyncio.create_task(intake.room())
        done, _ = await asyncio.wait([waiting], timeout=0.05)
        assert not done
        running = asyncio.create_task(intake.run())
        await waiting
        await intake.flush()
        assert spool.counts.records == ROOM_BYTES // size + 1
        assert size * 2 < GROUP_BYTES
        await stop(running, spool)

    run(test())
