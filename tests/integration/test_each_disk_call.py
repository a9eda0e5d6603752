"""Every single call to the disk fails once: what was written is there once, and once only.

The calls of one write are gone through one by one, the first of them failing and so many
after it; what was refused is tried again, as the daemons do.
"""

from __future__ import annotations

import errno
import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from chipwatt.collector.store.config import StoreConfig
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.collector.store.tally import Tally
from e2e.faults import dumps
from fakes.machine_faults import Faults, missing
from integration.disk_writer import LARGE, payload
from unit.collector.store.batches import FakeHost

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
EVER = 1 << 40
CALLS = pytest.mark.parametrize("calls", [1, 2, EVER], ids=["one", "two", "until mended"])
ERRORS = pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["full", "broken"])


class Writer:
    """The process, its disk, and how much of what it was told it kept."""

    def __init__(self, what: str, folder: Path) -> None:
        self.disk = folder / "disk"
        self.faults = Faults(folder / "faults", self.disk)
        environment = {**self.faults.environment, "PYTHONPATH": ":".join(sys.path)}
        command = [sys.executable, "-m", "integration.disk_writer", what, str(self.disk)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        self.kept = 0
        assert self._answer() == "ready"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def write(self) -> str:
        """Try once; empty where it was kept, else why not."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._answer()
        assert answer, "the process ended"
        self.kept += answer == "kept"
        return "" if answer == "kept" else answer

    def sweep(self, error: int, calls: int) -> int:
        """Let each call of a write be the first that fails; returns how many there were."""
        for call in itertools.count(1):
            before = self.faults.total
            self.faults.fail_at(call, error, calls)
            why = self.write()
            is_over = self.faults.total < before + call
            self.faults.fail_at(0, 0, 0)
            if why:
                assert not self.write()
            if is_over:
                return call - 1
        raise AssertionError

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@ERRORS
@CALLS
def test_a_store_has_each_batch_once(tmp_path: Path, error: int, calls: int) -> None:
    writer = Writer("store", tmp_path)
    assert not writer.write()
    gone_through = writer.sweep(error, calls)
    assert not writer.write()
    writer.kill()
    assert gone_through >= 5, "the log of SQLite, its sync, the list of commits"
    tally = Tally(writer.disk)
    assert [one.number for one in tally.after(0)] == list(range(1, writer.kept + 1))
    tally.close()
    host = FakeHost(1)
    windows = [window for _ in range(writer.kept) for window in host.records().windows]
    store = SqliteStore(StoreConfig(path=writer.disk))
    stored = store.windows(host.host, 0, 1 << 62)
    assert [window.energy_uj for window in stored] == [window.energy_uj for window in windows]
    assert [state.seen for state in store.streams()] == [((1, writer.kept),)]
    assert store.damaged == 0
    store.close()


@ERRORS
@CALLS
@pytest.mark.parametrize(("what", "size", "least"), [("spool", 40, 2), ("segments", LARGE, 5)])
def test_a_spool_has_each_record_once(
    tmp_path: Path, what: str, size: int, least: int, error: int, calls: int
) -> None:
    writer = Writer(what, tmp_path)
    for _ in range(3):
        assert not writer.write()
        assert writer.sweep(error, calls) >= least
    writer.kill()
    found = [record.payload for record in dumps.spooled(writer.disk)]
    assert found == [payload(number, size) for number in range(writer.kept)]
