"""The newest segment first, everything exactly once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.agent.lanes import Lanes
from chipwatt.agent.spool.spool import Spool
from chipwatt.agent.spool.threaded import ThreadedSpool
from chipwatt.v1 import telemetry_pb2 as pb
from fakes.spools import BOOT, SMALL
from fakes.telemetry_server import Behaviour
from fakes.uplink_rig import FAST, rig, run

BIG = bytes(900)
"""Four of these fill a segment of the small spool, which holds four segments."""


async def opened(spool: ThreadedSpool) -> Lanes:
    border = await spool.hold_newest()
    return Lanes(spool, spool.cursor, border)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 14), st.integers(0, 14), st.lists(st.booleans(), max_size=30))
def test_every_record_once_the_newest_in_order_and_first(
    spooled: int, settled: int, events: list[bool]
) -> None:
    async def test(folder: Path) -> None:
        spool = ThreadedSpool(Spool(folder, BOOT, SMALL))
        for _ in range(spooled):
            await spool.append([(BIG, b"")])
        read = await spool.read_from(spool.cursor, 1)
        for _ in range(min(settled, spooled)):
            (first, *_) = read
            await spool.ack(first.position)
            read = await spool.read_from(first.position, 1)
        wanted = spool.counts.unacked
        first_sequence = spool.counts.last_sequence - wanted + 1
        lanes = await opened(spool)
        newest: list[int] = []
        older: list[int] = []
        appended = 0
        for is_append in [*events, *[False] * (wanted + len(events))]:
            if is_append and appended < 3:  # the quota is not what this is about
                await spool.append([(b"live", b"")])
                appended += 1
            elif not is_append and (found := await lanes.next()):
                record, is_newest = found
                (newest if is_newest else older).append(record.sequence)
        assert await lanes.next() is None
        assert lanes.is_backlog_read
        every = list(range(first_sequence, first_sequence + wanted + appended))
        assert older + newest == every
        await spool.close()

    with TemporaryDirectory() as folder:
        asyncio.run(test(Path(folder)))


def test_live_records_overtake_a_backlog(tmp_path: Path) -> None:
    async def test() -> None:
        spool = ThreadedSpool(Spool(tmp_path, BOOT, SMALL))
        for _ in range(10):
            await spool.append([(BIG, b"")])
        lanes = await opened(spool)
        first, is_newest = await lanes.next() or pytest.fail("nothing")
        assert is_newest
        assert first.sequence > 4
        rest = [await lanes.next() for _ in range(10 - first.sequence + 1)]
        sequences = [found[0].sequence for found in rest if found]
        assert sequences[-1] == 1, "then the oldest"
        await spool.append([(b"live", b"")])
        live, is_newest = await lanes.next() or pytest.fail("nothing")
        assert (live.payload, is_newest) == (b"live", True)
        await spool.close()

    run(test())


def test_a_stream_that_breaks_amid_the_backlog_loses_and_doubles_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        filling = Spool(tmp_path, BOOT)  # segments of 1 MiB
        for _ in range(3):
            filling.append([(b"%d" % n + bytes(90_000), b"") for n in range(11)])
        assert filling.counts().records == 33
        filling.close()
        one = pb.Welcome(schema_version=1, max_in_flight=4)
        breaking = Behaviour(close_after=20, welcome=one)
        async with rig(tmp_path, FAST, breaking) as r:
            await r.server.wait_for(20)
            await r.append(b"live")
            await r.until(lambda: len(r.server.hellos) > 1)
            r.server.behaviour = Behaviour(welcome=one)
            await r.spool.drained.wait()
            assert len(r.server.stored) == 34
            assert r.server.conflicts == []
            assert r.server.arrivals[0][2] == 1, "to see whether the collector answers"
            assert r.server.arrivals[1][2] > 2, "the newest segment goes first"
            # Sent again: what was under way, and what the newest lane was ahead.
            assert len(r.server.arrivals) <= 34 + 2 * 20

    run(test())
