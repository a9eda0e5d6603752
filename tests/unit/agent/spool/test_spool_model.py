"""The spool against a list: whatever happens, what was appended and not settled is read back.

Payloads are windows of one counter each, so that merging can be checked: the windows
that are read are the appended ones, whole or as exact sums of neighbours.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chipwatt.agent.spool.contract import SpoolConfig, Spooled
from chipwatt.agent.spool.record import START, Position, Record, pack_frame
from chipwatt.agent.spool.spool import Spool
from chipwatt.core.errors import SpoolError
from chipwatt.core.settings import Size
from fakes.lines import line, window, windows_in
from fakes.spools import InProcess

CONFIG = SpoolConfig(quota=Size(24 << 10), segment=Size(4096))
ROOMY = SpoolConfig(quota=Size(1 << 30), segment=Size(4096))
OPERATIONS = ("open", "pwrite", "rename", "replace", "unlink", "ftruncate", "truncate")
counts = st.integers(1, 20)


class PowerCut(BaseException):
    """The process ends at this operation."""


class SpoolMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.boot = bytes([1]) * 16
        self.failing = False
        self.spool = self.opened()
        self.unsettled: list[int] = []
        """Numbers of windows that were appended and not acked."""
        self.next = 0
        self.memory = b""
        self.sent: dict[tuple[bytes, int, int], bytes] = {}
        """What was read to be sent, by key."""

    def opened(self) -> Spool:
        folder = self.directory / "spool"
        return Spool(folder, self.boot, CONFIG, self.sync, merging=InProcess())

    def sync(self, descriptor: int) -> None:
        if self.failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.fsync(descriptor)

    def group(self, count: int) -> list[tuple[bytes, bytes]]:
        return [(payload, b"m%d" % count) for payload in line(count, self.next)]

    def took(self, count: int) -> None:
        self.unsettled += range(self.next, self.next + count)
        self.memory = b"m%d" % count
        self.next += count

    @rule(count=counts)
    def append(self, count: int) -> None:
        if not self.would_drop(count):
            self.spool.append(self.group(count))
            self.took(count)

    @rule(count=counts)
    def append_one_by_one(self, count: int) -> None:
        for _ in range(count):
            self.append(1)

    @rule(count=counts)
    def append_fails(self, count: int) -> None:
        self.failing = True
        if not self.would_drop(count):
            with pytest.raises(SpoolError, match="Input/output error"):
                self.spool.append(self.group(count))
        self.failing = False

    def would_drop(self, count: int) -> bool:
        """Whether merging may not make enough room: what was sent has to stay as it is."""
        held = self.spool._segments
        free = [one for one in held[:-1] if not one.sent and not one.header.resolution_ns]
        gain = sum(max(0, segment.end - 1400) for segment in free)
        return sum(segment.end for segment in held) + count * 560 + 160 - CONFIG.quota > gain

    @rule(share=st.floats(0, 1), settle=st.floats(0, 1))
    def send(self, share: float, settle: float) -> None:
        """Send some of the oldest records; the collector acks some of those."""
        sent = self.spool.read_from(START, int(share * 6000))
        for record in sent:
            key = (record.boot_id, record.epoch, record.sequence)
            assert self.sent.setdefault(key, record.payload) == record.payload
        acked = sent[: round(len(sent) * settle)]
        if acked:
            self.spool.ack(acked[-1].position)
            del self.unsettled[: len(self.numbers(acked))]

    @rule()
    def reopen(self) -> None:
        self.spool.close()
        self.spool = self.opened()

    @rule(junk=st.binary(min_size=1, max_size=40))
    def crash_in_mid_write(self, junk: bytes) -> None:
        torn = pack_frame(5, Record(9, 1, 0, junk, b""))[:-1]
        if self.spool._segments and self.spool._segments[-1].sent:
            self.memory = b""  # nobody can tell whether what is torn was whole once
        self.spool.close()
        for path in sorted((self.directory / "spool").glob("*.seg"))[-1:]:
            path.write_bytes(path.read_bytes() + torn)
        self.spool = self.opened()

    @rule(count=counts, operations=st.integers(0, 30))
    def crash_at_any_operation(self, count: int, operations: int) -> None:
        if self.would_drop(count):
            return
        left = operations

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **options: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise PowerCut
                return real(*args, **options)

            return call

        spool = self.spool
        spool._sync = spool._room._sync = counted(self.sync)
        patches = [mock.patch.object(os, name, counted(getattr(os, name))) for name in OPERATIONS]
        try:
            for patch in patches:
                patch.start()
            spool.append(self.group(count))
        except PowerCut:
            done = None
        else:
            done = count
        finally:
            mock.patch.stopall()
        spool.close()
        self.spool = self.opened()
        if done is None:  # what was written whole is there, the rest is not
            there = self.numbers(self.read_all())[len(self.unsettled) :]
            assert there == list(range(self.next, self.next + len(there)))
            done = len(there)
        self.unsettled += range(self.next, self.next + done)
        self.next += done
        self.memory = b"m%d" % count if done else self.memory

    @rule(reopened=st.integers(1, 3))
    def newest_record_is_damaged_when_all_is_acked(self, reopened: int) -> None:
        """Nothing may be resumed from a record behind which another one was sent."""
        if self.unsettled or not self.spool._segments or not len(self.spool._segments[-1]):
            return
        path = self.spool._segments[-1].path
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        for _ in range(reopened):
            self.spool.close()
            self.spool = self.opened()
        self.memory = b""
        self.unsettled = self.numbers(self.read_all())
        assert self.next - 1 not in self.unsettled

    @rule()
    def reboot(self) -> None:
        self.spool.close()
        self.boot = bytes([self.boot[0] % 250 + 1]) * 16
        self.spool = self.opened()
        self.memory = b""

    @rule()
    def cursor_is_lost(self) -> None:
        """A cursor older than the truth repeats records under the keys they had."""
        self.spool.close()
        (self.directory / "spool" / "cursor").unlink(missing_ok=True)
        self.spool = self.opened()
        again = self.numbers(self.read_all())
        assert again[len(again) - len(self.unsettled) :] == self.unsettled
        self.unsettled = again

    @invariant()
    def reads_what_is_unsettled(self) -> None:
        found = self.read_all()
        assert self.numbers(found) == self.unsettled
        for record in found:
            key = (record.boot_id, record.epoch, record.sequence)
            assert self.sent.get(key, record.payload) == record.payload
        keys = [(r.boot_id, r.epoch, r.sequence) for r in found]
        assert len(set(keys)) == len(keys)
        state = self.spool.counts()
        assert state.unacked == len(found)
        assert state.dropped == 0
        names = {path.name for path in (self.directory / "spool").iterdir()}
        segments = [segment.path.name for segment in self.spool._segments]
        marks = [segment.mark.name for segment in self.spool._segments if segment.sent]
        lost = {name for name in names if name.endswith(".sent") and name[:-4] + "seg" not in names}
        assert names - {"lock", "cursor", "settled"} - set(marks) - lost == set(segments)
        assert state.bytes <= CONFIG.quota
        assert self.spool.memory == self.memory

    def read_all(self) -> list[Spooled]:
        """Read what is unsettled from a copy, so that none of it counts as sent."""
        copy = self.directory / "copy"
        shutil.copytree(self.directory / "spool", copy)
        spool = Spool(copy, self.boot, ROOMY, merging=InProcess())
        position: Position = max(START, self.spool.cursor)
        found: list[Spooled] = []
        while more := spool.read_from(position, 1500):
            found += more
            position = more[-1].position
        spool.close()
        shutil.rmtree(copy)
        return found

    @staticmethod
    def numbers(records: list[Spooled]) -> list[int]:
        """Return which windows were read, whether alone or merged with their neighbours."""
        found: list[int] = []
        for one in windows_in(record.payload for record in records):
            first, end_ns = window(0), one.start_mono_ns + one.duration_ns
            span_ns = first.duration_ns
            numbers = range(
                (one.start_mono_ns - first.start_mono_ns) // span_ns,
                (end_ns - first.start_mono_ns) // span_ns,
            )
            assert one.energy_uj == sum(window(number).energy_uj for number in numbers)
            found += numbers
        return found

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.directory)


TestSpool = SpoolMachine.TestCase
TestSpool.settings = settings(
    max_examples=30,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
