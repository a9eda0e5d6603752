"""Spool, stream and store against a list: whatever the network and the crashes do in between.

The spool, the books of what is under way, the session, the group commit and the
store are the real ones; only the network is simulated. A stream keeps its
order, as TCP does, but breaks at any place, and what an old stream still
carries may arrive while a newer one is open, once or twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import tempfile
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chipwatt.agent.in_flight import InFlight
from chipwatt.agent.spool.contract import SpoolConfig, Spooled
from chipwatt.agent.spool.spool import Spool
from chipwatt.collector.ingest.commit import Committer
from chipwatt.collector.ingest.counters import IngestCounters
from chipwatt.collector.ingest.identity import Identity
from chipwatt.collector.ingest.session import Session
from chipwatt.collector.ingest.unpack import unpack
from chipwatt.collector.store.config import StoreConfig
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.codec import encode_records
from chipwatt.core.errors import SpoolError
from chipwatt.core.settings import Size
from chipwatt.core.wire import digest
from chipwatt.v1 import telemetry_pb2 as pb
from e2e.faults import dumps, reference
from fakes.spools import InProcess
from unit.collector.store.batches import FakeHost

QUOTA = SpoolConfig(quota=Size(96 << 10), segment=Size(4 << 10))
IN_FLIGHT = 4
"""What is under way stays below the quota, as with the real sizes: it is not merged."""
HOUR_NS = 3600 * NS_PER_S
EVER = (0, 1 << 62)


@dataclass
class Connection:
    """One stream: what is on its way up, what was taken and is on its way down."""

    session: Session
    up: deque[pb.Batch] = field(default_factory=deque)
    down: deque[pb.StreamResponse] = field(default_factory=deque)


class Delivery(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.host = FakeHost(1)
        self.failing = False
        self.skew_ns = 0
        self.pending: list[tuple[bytes, bytes]] = []
        self.counters = IngestCounters()
        self.open_spool()
        self.loop = asyncio.new_event_loop()
        self.open_store()
        self.connect()
        self.old: list[Connection] = []
        self.past: list[pb.Batch] = []
        self.merged: list[set[reference.Key]] = []

    # -- both ends --

    def open_spool(self) -> None:
        folder = self.folder / "spool"
        self.spool = Spool(folder, b"b" * 16, QUOTA, sync=self.sync, merging=InProcess())

    def sync(self, _: int) -> None:
        if self.failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def open_store(self) -> None:
        self.store = SqliteStore(StoreConfig(path=self.folder / "store"))

        async def start() -> Committer:
            committer = Committer(self.store, self.counters)
            committer.start()
            return committer

        self.committer = self.loop.run_until_complete(start())

    def connect(self) -> None:
        self.connection = Connection(Session(Identity(self.host.host, "host")))
        self.in_flight = InFlight()
        self.is_answered = False
        self.position = self.spool.cursor

    # -- the agent --

    @rule(windows=st.integers(1, 2), records=st.integers(1, 4))
    def measure(self, windows: int, records: int) -> None:
        for _ in range(records):
            self.pending.append((encode_records(self.host.records(windows)), b"memory"))
        self.spool_pending()

    def spool_pending(self) -> None:
        self.spool.append(self.pending)
        self.pending = []

    @precondition(lambda self: len(self.pending) < 4)
    @rule()
    def disk_refuses(self) -> None:
        self.pending.append((encode_records(self.host.records()), b"memory"))
        self.failing = True
        with pytest.raises(SpoolError):
            self.spool.append(self.pending)
        self.failing = False

    @rule(count=st.integers(1, 12))
    def send(self, count: int) -> None:
        for record in self.spool.read_from(self.position, 1 << 20)[:count]:
            # As the stream does: one record until the collector answers.
            if len(self.in_flight) >= (IN_FLIGHT if self.is_answered else 1):
                return
            self.position = record.position
            self.in_flight.send(record, newest=False)
            if record.records > 1:
                self.merged.append(dumps.keys(self.host.host, [record]))
            batch = pb.Batch(
                boot_id=record.boot_id,
                spool_epoch=record.epoch,
                sequence=record.sequence,
                digest=digest(record.payload),
                encoding=pb.ENCODING_PLAIN,
                payload=record.payload,
            )
            self.connection.up.append(batch)
            self.past.append(batch)

    @rule()
    def crash_agent(self) -> None:
        self.spool.close()
        self.open_spool()
        self.stream_breaks()

    # -- the network --

    @rule(count=st.integers(1, 12))
    def deliver_up(self, count: int) -> None:
        self.take(self.connection, count)

    @rule(count=st.integers(1, 4))
    def deliver_down(self, count: int) -> None:
        down = self.connection.down
        for _ in range(min(count, len(down))):
            answer = down.popleft()
            assert answer.HasField("ack"), answer
            self.in_flight.acked(answer.ack.spool_epoch, answer.ack.sequence)
            self.is_answered = True
        position = self.in_flight.take_settled()
        if position is not None:
            self.spool.ack(position)

    @rule()
    def stream_breaks(self) -> None:
        """The agent opens another; what the old one carries may still arrive, or not."""
        self.old = [*self.old[-2:], self.connection]
        self.connect()

    @precondition(lambda self: any(connection.up for connection in self.old))
    @rule(which=st.integers(0, 2), count=st.integers(1, 6))
    def old_stream_arrives(self, which: int, count: int) -> None:
        self.take(self.old[which % len(self.old)], count)

    @precondition(lambda self: self.past)
    @rule(which=st.integers(0, 10_000), times=st.integers(1, 3))
    def replay(self, which: int, times: int) -> None:
        stranger = Connection(Session(Identity(self.host.host, "host")))
        stranger.up.extend([self.past[which % len(self.past)]] * times)
        self.take(stranger, times)

    # -- the collector --

    def take(self, connection: Connection, count: int) -> None:
        """Let the next batches of a stream through ingest, and put the answers on their way."""
        received_ns = self.host.start_unix_ns + self.skew_ns

        async def through() -> None:
            answers = []
            for _ in range(min(count, len(connection.up))):
                batch = connection.up.popleft()
                await connection.session.slot()
                incoming = unpack(self.host.host, batch, received_ns)
                answers.append(await self.committer.submit(incoming))
                connection.session.owe(batch, answers[-1])
                connection.down.extend(connection.session.replies())
            await asyncio.gather(*answers)
            connection.down.extend(connection.session.replies())

        self.loop.run_until_complete(through())

    @rule(lost=st.booleans())
    def crash_collector(self, lost: bool) -> None:
        """Its sessions end with it; the last commit's acks may be on the way or not."""
        self.close_store()
        self.open_store()
        if lost:
            self.connection.down.clear()
        self.stream_breaks()
        for connection in self.old:
            connection.up.clear()

    def close_store(self) -> None:
        self.loop.run_until_complete(self.committer.drain(5))
        self.store.close()

    @rule(skew_ns=st.sampled_from([0, -HOUR_NS, HOUR_NS, 10 * 8766 * HOUR_NS, -8766 * HOUR_NS]))
    def clocks_part(self, skew_ns: int) -> None:
        self.skew_ns = skew_ns

    # -- what must hold --

    @invariant()
    def what_is_settled_is_stored(self) -> None:
        """I1: every record before the cursor is in the store. I2: nothing is there twice."""
        states = self.store.streams()
        stored = {
            (self.host.host, state.boot, state.spool_epoch, sequence)
            for state in states
            for first, last in state.seen
            for sequence in range(first, last + 1)
        }
        for keys in self.merged:  # a merged record is stored under the last key it stands for
            if max(keys) in stored:
                stored |= keys
        waiting = dumps.keys(self.host.host, self.unsettled())
        assert not reference.lost(stored | waiting, stored | waiting)
        assert self.counters.conflicts == 0
        assert not self.counters.refused
        counts = self.spool.counts()
        assert counts.dropped == counts.damaged == 0

    def unsettled(self) -> list[Spooled]:
        """Read from a copy, so that none of it counts as sent."""
        return dumps.spooled(self.folder / "spool")

    def teardown(self) -> None:
        """Drain; then every joule is there, once, to the µJ (I3)."""
        try:
            if self.pending:
                self.spool_pending()
            self.connect()
            for _ in range(1000):
                if not self.unsettled():
                    break
                self.send(12)
                self.deliver_up(12)
                self.deliver_down(12)
            assert not self.unsettled(), "what was spooled is delivered in the end"
            windows = self.store.windows(self.host.host, *EVER, limit=1_000_000)
            plain = [dumps.plain(self.host.host.hex(), window) for window in windows]
            truth = {
                f"{self.host.host.hex()} {device} package energy": self.host.cumulative_uj[number]
                - 1000 * number
                for number, device in enumerate(self.host.ids)
            }
            assert not reference.faults(plain, [], truth)
            seconds = self.store.host_seconds(self.host.host, *EVER, limit=1_000_000)
            assert len({second.start_mono_ns for second in seconds}) == len(seconds)
        finally:
            with contextlib.suppress(Exception):
                self.close_store()
            self.spool.close()
            self.loop.close()
            shutil.rmtree(self.folder)


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
