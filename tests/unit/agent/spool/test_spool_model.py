"""The spool against a list: whatever happens, what was appended and not settled is read back."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chipwatt.agent.spool.contract import SpoolConfig, Spooled
from chipwatt.agent.spool.record import START, pack_frame
from chipwatt.agent.spool.spool import Spool
from chipwatt.core.errors import SpoolError
from chipwatt.core.settings import Size

CONFIG = SpoolConfig(quota=Size(1 << 20), segment=Size(4096))
payloads = st.binary(max_size=700)
groups = st.lists(st.tuples(payloads, st.binary(max_size=30)), min_size=1, max_size=5)


class SpoolMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.boot = bytes([1]) * 16
        self.failing = False
        self.spool = self.opened()
        self.unsettled: list[bytes] = []
        self.memory = b""
        self.keys: dict[tuple[bytes, int, int], bytes] = {}

    def opened(self) -> Spool:
        return Spool(self.directory / "spool", self.boot, CONFIG, self.sync)

    def sync(self, descriptor: int) -> None:
        if self.failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.fsync(descriptor)

    def read_all(self) -> list[Spooled]:
        found: list[Spooled] = []
        while more := self.spool.read_from(found[-1].position if found else START, 1500):
            found += more
        return found

    @rule(group=groups)
    def append(self, group: list[tuple[bytes, bytes]]) -> None:
        self.spool.append(group)
        self.unsettled += [payload for payload, _ in group]
        self.memory = group[-1][1]

    @rule(group=groups)
    def append_fails(self, group: list[tuple[bytes, bytes]]) -> None:
        self.failing = True
        with pytest.raises(SpoolError, match="Input/output error"):
            self.spool.append(group)
        self.failing = False

    @rule(share=st.floats(0, 1))
    def ack(self, share: float) -> None:
        found = self.read_all()
        count = int(len(found) * share)
        if count:
            self.spool.ack(found[count - 1].position)
            del self.unsettled[:count]

    @rule()
    def reopen(self) -> None:
        self.spool.close()
        self.spool = self.opened()

    @rule(junk=st.binary(min_size=1, max_size=40) | st.just(pack_frame(5, 9, b"torn", b"")[:-1]))
    def crash_in_mid_write(self, junk: bytes) -> None:
        self.spool.close()
        newest = sorted((self.directory / "spool").glob("*.seg"))[-1:]
        for path in newest:
            path.write_bytes(path.read_bytes() + junk)
        self.spool = self.opened()

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
        found = self.read_all()
        again = len(found) - len(self.unsettled)
        assert again >= 0
        self.unsettled[:0] = [record.payload for record in found[:again]]

    @invariant()
    def reads_what_is_unsettled(self) -> None:
        found = self.read_all()
        assert [record.payload for record in found] == self.unsettled
        assert self.spool.counts().unacked == len(self.unsettled)
        assert self.spool.counts().damaged == self.spool.counts().dropped == 0
        assert self.spool.memory == self.memory
        for record in found:
            key = (record.boot_id, record.epoch, record.sequence)
            assert self.keys.setdefault(key, record.payload) == record.payload

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.directory)


TestSpool = SpoolMachine.TestCase
TestSpool.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
