"""Clocks that run ahead, through a real stream: stored with our time, and nothing follows them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from chipwatt.collector.latest import Latest
from chipwatt.collector.store.contract import AHEAD_NS
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.clock import NS_PER_S, VirtualClock
from chipwatt.core.model import Flag
from unit.collector.ingest.agents import Agent, served, wire
from unit.collector.store.batches import DAY0_UNIX_NS, FakeHost, config

ALL = (0, 1 << 62)


def test_rows_from_the_future_are_counted_and_hold_back_no_other_host(tmp_path: Path) -> None:
    """One host whose clock is a day ahead; then its clock is set right."""
    clock = VirtualClock(DAY0_UNIX_NS + 30 * NS_PER_S)
    ahead, sound = FakeHost(1), FakeHost(2)
    latest = Latest()
    ahead.start_unix_ns += 86_400 * NS_PER_S

    async def main() -> None:
        store = SqliteStore(config(tmp_path / "store"))
        async with served(store, clock=clock) as collector:
            collector.ingest.committer.on_committed.append(latest.on_commit)
            async with (
                Agent(collector.address, ahead.host) as early,
                Agent(collector.address, sound.host) as agent,
            ):
                await early.hello()
                await agent.hello()
                await early.send(wire(ahead.batch()))
                await early.acked(1)
                await agent.send(wire(sound.batch()))
                await agent.acked(1)
                assert collector.ingest.counters.rows["ahead"] == 12, "10 seconds and 2 windows"
                ahead.start_unix_ns = DAY0_UNIX_NS
                await early.send(wire(ahead.batch()))
                await early.acked(2)
            assert collector.ingest.counters.rows["ahead"] == 12
        for host in (ahead, sound):
            stored = sum(w.energy_uj for w in store.windows(host.host, *ALL))
            assert stored == host.sent_uj, "live data after a future sample is not too old"
        flagged = [w for w in store.windows(ahead.host, *ALL) if w.flags & Flag.CLOCK_AHEAD]
        assert [w.start_unix_ns + w.duration_ns for w in flagged] == [clock.unix_ns()] * 2
        state = latest.states([ahead.host], clock.unix_ns())
        assert state.newest_s[0] == DAY0_UNIX_NS // NS_PER_S + 9
        assert {w.start_unix_ns for w in latest.windows(ahead.host)} == {DAY0_UNIX_NS}
        state = latest.states([sound.host], clock.unix_ns())
        assert int(state.newest_s[0]) == (DAY0_UNIX_NS // NS_PER_S) + 9
        assert int(state.held[0]) == 10
        assert {w.start_unix_ns for w in latest.windows(sound.host)} == {DAY0_UNIX_NS}
        store.close()

    asyncio.run(main())


def test_two_minutes_ahead_is_a_sound_clock(tmp_path: Path) -> None:
    host = FakeHost(1)
    clock = VirtualClock(host.start_unix_ns - AHEAD_NS + 9 * NS_PER_S)

    async def main() -> None:
        store = SqliteStore(config(tmp_path / "store"))
        async with served(store, clock=clock) as collector:
            async with Agent(collector.address, host.host) as agent:
                await agent.hello()
                await agent.send(wire(host.batch()))
                await agent.acked(1)
            assert collector.ingest.counters.rows["ahead"] == 0
        store.close()

    asyncio.run(main())
