"""A disk that refuses: nothing stops, everything is said, all is well again without a restart."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chipwatt.agent.spool import directory as directories
from chipwatt.agent.spool.record import START
from chipwatt.agent.spool.spool import Spool
from chipwatt.core.errors import SpoolError
from fakes.lines import line
from fakes.spools import BOOT, SMALL, InProcess, opened, read_all


class Disk:
    """Refuses some operations, and the cursor, while it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *operations: str) -> None:
        self.refuses = False
        for place, name in [(directories, "write_cursor"), *((os, name) for name in operations)]:
            monkeypatch.setattr(place, name, self._refusing(getattr(place, name)))

    def _refusing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if self.refuses:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            return real(*args, **options)

        return call


def test_an_ack_that_a_read_only_disk_does_not_take_still_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Draining goes on; later the disk is told, and what was acked is deleted."""
    spool = opened(tmp_path, SMALL)
    for payload in line(20):
        spool.append([(payload, b"")])
    records = read_all(spool)
    files = len(list(tmp_path.glob("*.seg")))
    disk = Disk(monkeypatch, "unlink")
    disk.refuses = True
    spool.ack(records[15].position)
    assert "Read-only file system" in spool.problem
    assert read_all(spool) == records[16:]
    assert spool.counts().unacked == 4
    assert len(list(tmp_path.glob("*.seg"))) == files
    disk.refuses = False
    spool.ack(records[16].position)
    assert spool.problem == ""
    assert len(list(tmp_path.glob("*.seg"))) < files
    spool.close()
    spool = opened(tmp_path, SMALL)
    assert read_all(spool) == records[17:]
    spool.close()


def test_a_mark_that_cannot_be_made_is_told_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened(tmp_path, SMALL)
    spool.append([(line(1)[0], b"")])
    disk = Disk(monkeypatch, "open")
    disk.refuses = True
    assert len(spool.read_from(START, 1)) == 1
    assert "Read-only file system" in spool.problem
    disk.refuses = False
    assert spool._segments[0].sent
    spool.append([(line(1, 1)[0], b"")])
    assert len(spool.read_from(START, 1 << 20)) == 2
    spool.close()


def test_acks_free_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleting needs no room: a cursor that finds none must not be in its way."""
    spool = opened(tmp_path, SMALL)
    for payload in line(20):
        spool.append([(payload, b"")])
    records = read_all(spool)
    disk = Disk(monkeypatch)
    disk.refuses = True
    spool.ack(records[-1].position)
    assert len(list(tmp_path.glob("*.seg"))) == 1
    spool.close()


def test_counts_tell_what_became_of_records(tmp_path: Path) -> None:
    now_ns = 1_000
    spool = Spool(tmp_path, BOOT, SMALL, merging=InProcess(), unix_ns=lambda: now_ns)
    for payload in line(4):
        spool.append([(payload, b"")])
        now_ns += 10
    records = read_all(spool)
    counts = spool.counts()
    assert (counts.appended, counts.appended_bytes) == (4, sum(map(len, line(4))))
    assert (counts.oldest_unix_ns, counts.coarsest_ns, counts.refused) == (1_000, 0, 0)
    spool.ack(records[1].position)
    assert spool.counts().oldest_unix_ns == 1_020
    spool.ack(records[3].position)
    assert (spool.counts().oldest_unix_ns, spool.counts().unacked) == (0, 0)
    spool.close()


def test_an_append_that_is_refused_is_counted(tmp_path: Path) -> None:
    refuses = True

    def sync(descriptor: int) -> None:
        if refuses:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.fsync(descriptor)

    spool = Spool(tmp_path, BOOT, SMALL, sync)
    with pytest.raises(SpoolError):
        spool.append([(b"a", b"")])
    refuses = False
    spool.append([(b"b", b"")])
    counts = spool.counts()
    assert (counts.refused, counts.appended, counts.epochs) == (1, 1, 2)
    spool.close()


def test_nothing_is_dropped_for_a_disk_that_refuses_to_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened(tmp_path, SMALL)
    given = 0
    for payload in line(26):
        spool.append([(payload, b"")])
        given += 1
    assert spool.counts().merged == 0
    disk = Disk(monkeypatch, "pwrite", "rename")
    disk.refuses = True
    for payload in line(20, given):
        with pytest.raises(SpoolError, match="Read-only file system"):
            spool.append([(payload, b"")])
    disk.refuses = False
    assert spool.counts().dropped == 0
    assert spool.counts().records == given
    spool.close()
