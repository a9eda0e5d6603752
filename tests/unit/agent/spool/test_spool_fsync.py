from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chipwatt.agent.spool.spool import Spool
from chipwatt.core.errors import SpoolError
from fakes.spools import BOOT, newest, payloads


def failing_after(calls: int) -> Callable[[int], None]:
    def sync(descriptor: int) -> None:
        nonlocal calls
        calls -= 1
        if calls < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)

    return sync


@pytest.mark.parametrize("calls", range(6))
def test_after_a_failed_fsync_nothing_is_twice_and_the_epoch_is_new(
    tmp_path: Path, calls: int
) -> None:
    spool = Spool(tmp_path, BOOT, sync=failing_after(calls))
    spooled: list[bytes] = []
    sentences: list[str] = []
    for text in (b"a", b"b", b"c", b"d"):
        try:
            spool.append([(text, text)])
            spooled.append(text)
        except SpoolError as error:
            sentences.append(str(error))
    assert len(spooled) + len(sentences) == 4
    assert all("No space left on device" in s and str(tmp_path) in s for s in sentences)
    assert payloads(spool) == spooled
    spool.close()
    again = Spool(tmp_path, BOOT)
    assert payloads(again) == spooled
    assert again.memory == (spooled[-1] if spooled else b"")
    again.append([(b"e", b"")])
    assert payloads(again) == [*spooled, b"e"]
    again.close()


def test_what_a_failed_write_left_behind_is_no_record(tmp_path: Path) -> None:
    """S4: the bytes reached the disk although fsync said no, and could not be cut off."""
    spool = Spool(tmp_path, BOOT)
    spool.append([(b"a", b"")])
    first = newest(tmp_path)
    spool.close()
    left: list[bytes] = []
    failing = False

    def sync(descriptor: int) -> None:
        if failing:
            left.append(first.read_bytes())
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.fsync(descriptor)

    spool = Spool(tmp_path, BOOT, sync=sync)
    failing = True
    with pytest.raises(SpoolError):
        spool.append([(b"b" * 50, b"")])
    assert b"b" * 50 in left[0]
    failing = False
    spool.append([(b"b" * 50, b"")])
    spool.close()
    first.write_bytes(left[0])
    spool = Spool(tmp_path, BOOT)
    assert payloads(spool) == [b"a", b"b" * 50]
    spool.close()


def test_what_a_killed_process_left_is_durable_before_it_is_read(tmp_path: Path) -> None:
    """Else a power cut takes back what was sent and resumed from, and it is counted twice."""

    def killed(_: int) -> None:
        raise KeyboardInterrupt

    spool = Spool(tmp_path, BOOT)
    spool.append([(b"durable", b"")])
    spool._sync = killed
    with pytest.raises(KeyboardInterrupt):
        spool.append([(b"written", b"memory of it")])
    spool.close()
    synced: list[str] = []

    def sync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    spool = Spool(tmp_path, BOOT, sync=sync)
    assert spool.memory == b"memory of it"
    assert synced == ["00000001.seg", tmp_path.name]
    assert payloads(spool) == [b"durable", b"written"]
    spool.close()
