"""A segment that the disk does not give back, or that somebody deleted, holds nothing up."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from chipwatt.agent.spool.record import START
from chipwatt.core.errors import SpoolError
from fakes.lines import energy_uj, gaps_in, line, window, windows_in
from fakes.spools import SMALL, newest, opened, payloads, read_all

SEGMENT = "00000002.seg"


class BadDisk:
    """Does not read some file back while it is ``bad``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
        self.bad = False
        real = Path.open

        def opens(path: Path, *args: Any, **options: Any) -> Any:
            if self.bad and path.name == name:
                raise OSError(code, os.strerror(code))
            return real(path, *args, **options)

        monkeypatch.setattr(Path, "open", opens)


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("deleted", [False, True])
def test_what_cannot_be_read_is_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restarts: bool, deleted: bool
) -> None:
    spool = opened(tmp_path, SMALL)
    for payload in line(20):
        spool.append([(payload, b"m")])
    lost = range(7, 14)
    disk = BadDisk(monkeypatch, SEGMENT, errno.EIO)
    disk.bad = not deleted
    if deleted:
        (tmp_path / SEGMENT).unlink()
    if restarts:
        spool.close()
        spool = opened(tmp_path, SMALL)
        assert spool.memory == b"m"
    records = read_all(spool)
    found = [record.payload for record in records]
    assert windows_in(found) == [window(n) for n in range(20) if n not in lost]
    assert [gap.lower_uj for gap in gaps_in(found)] == [sum(map(energy_uj, lost))]
    assert spool.counts().damaged == len(lost)
    assert (SEGMENT in spool.problem) is not restarts
    spool.append([(line(1, 20)[0], b"")])
    spool.ack(read_all(spool)[-1].position)
    assert spool.problem == ""
    spool.close()


def test_a_refusal_that_may_pass_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened(tmp_path, SMALL)
    for payload in line(20):
        spool.append([(payload, b"")])
    disk = BadDisk(monkeypatch, SEGMENT, errno.EMFILE)
    disk.bad = True
    position = spool.read_from(START, 1 << 20)[-1].position
    with pytest.raises(SpoolError, match="Too many open files"):
        spool.read_from(position, 1)
    assert "Too many open files" in spool.problem
    disk.bad = False
    assert windows_in(payloads(spool)) == [window(n) for n in range(20)]
    assert spool.problem == ""
    spool.close()


def test_an_unreadable_newest_segment_that_was_sent_is_not_resumed_across(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened(tmp_path, SMALL)
    for payload in line(14):
        spool.append([(payload, b"m")])
    assert len(read_all(spool)) == 14
    spool.close()
    BadDisk(monkeypatch, SEGMENT, errno.EIO).bad = True
    for _ in range(2):
        spool = opened(tmp_path, SMALL)
        assert spool.memory == b""
        assert len(read_all(spool)) == 7
        spool.close()


def test_a_newest_segment_that_was_deleted_is_followed_by_another(tmp_path: Path) -> None:
    spool = opened(tmp_path, SMALL)
    spool.append([(b"first", b"")])
    newest(tmp_path).unlink()
    spool.append([(b"second", b"m")])
    assert payloads(spool) == [b"second"]
    assert spool.counts().damaged == 1
    assert newest(tmp_path).name == SEGMENT
    spool.close()
    spool = opened(tmp_path, SMALL)
    assert (payloads(spool), spool.memory) == ([b"second"], b"m")
    spool.close()
