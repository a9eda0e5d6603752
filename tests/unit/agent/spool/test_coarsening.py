"""A spool over its quota: resolution goes, energy stays, and no joule gets a second key."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from chipwatt.agent.spool.contract import SpoolConfig, Spooled
from chipwatt.agent.spool.merger import MergeFailed
from chipwatt.agent.spool.record import START
from chipwatt.agent.spool.spool import Spool
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.errors import SpoolError
from chipwatt.core.settings import Size
from fakes.lines import gaps_in, line, line_energy_uj, windows_in
from fakes.spools import BOOT, InProcess, opened, payloads, read_all

SMALL = SpoolConfig(quota=Size(48 << 10), segment=Size(4096))
LARGE = SpoolConfig(quota=Size(1 << 30), segment=Size(4096))


def append(spool: Spool, records: Sequence[bytes], most: int = 0) -> None:
    for payload in records:
        spool.append([(payload, b"memory")])
        assert spool.counts().bytes <= most or not most


def unread(folder: Path) -> list[bytes]:
    """Return what a spool holds without marking any of it as sent."""
    copy = folder.with_name(f"{folder.name}.copy")
    shutil.copytree(folder, copy)
    spool = opened(copy, LARGE)
    found = payloads(spool)
    spool.close()
    shutil.rmtree(copy)
    return found


def energy_uj(records: Sequence[bytes]) -> int:
    return sum(window.energy_uj for window in windows_in(records))


def keys(records: Sequence[Spooled]) -> list[tuple[int, int]]:
    return [(record.epoch, record.sequence) for record in records]


def test_an_outage_of_any_length_fits_and_energy_is_exact(tmp_path: Path) -> None:
    spool = opened(tmp_path, SMALL)
    append(spool, line(1000), SMALL.quota)
    counts = spool.counts()
    assert counts.dropped == counts.damaged == 0
    assert counts.merged == 1000 - counts.records > 500
    assert counts.coarsest_ns >= 600 * NS_PER_S
    assert spool.problem == ""
    for _ in range(2):
        windows = windows_in(payloads(spool))
        assert sum(window.energy_uj for window in windows) == line_energy_uj(1000)
        assert sum(window.duration_ns for window in windows) == 10_000 * NS_PER_S
        ends = [window.start_mono_ns + window.duration_ns for window in windows]
        assert ends[:-1] == [window.start_mono_ns for window in windows[1:]]
        assert windows[0].duration_ns >= 60 * NS_PER_S
        assert windows[-1].duration_ns == 10 * NS_PER_S
        spool.close()
        spool = opened(tmp_path, SMALL)
    spool.close()


def test_keys_keep_their_order_and_say_what_they_stand_for(tmp_path: Path) -> None:
    spool = opened(tmp_path, SMALL)
    append(spool, line(300))
    records = read_all(spool)
    assert len({record.epoch for record in records}) == 1
    assert records[-1].sequence == 300
    covered = [
        sequence
        for record in records
        for sequence in range(record.sequence - record.records + 1, record.sequence + 1)
    ]
    assert covered == list(range(1, 301))
    headers = [segment.header for segment in spool._segments]
    assert all(a.last_number + 1 == b.number for a, b in pairwise(headers))
    assert {path.name for path in tmp_path.glob("*.seg")} == {
        f"{header.number:08d}.seg" for header in headers
    }
    spool.append([(b"next", b"")])
    assert read_all(spool)[-1].sequence == 301
    spool.close()


def test_what_was_read_to_be_sent_keeps_its_key_and_bytes(tmp_path: Path) -> None:
    """S9, also over a restart and for an ack that comes late."""
    spool = opened(tmp_path, SMALL)
    append(spool, line(20))
    sent = spool.read_from(START, 3000)
    spool.close()
    spool = opened(tmp_path, SMALL)
    append(spool, line(600, 20), SMALL.quota)
    again = read_all(spool)
    assert again[: len(sent)] == sent
    assert spool.counts().merged > 0
    spool.ack(sent[-1].position)
    left = [record.payload for record in again[len(sent) :]]
    assert payloads(spool) == left
    assert energy_uj(left) == line_energy_uj(620) - line_energy_uj(len(sent))
    spool.close()


def test_a_mark_is_on_the_disk_before_a_record_leaves(tmp_path: Path) -> None:
    synced: list[str] = []

    def sync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    spool = Spool(tmp_path, BOOT, SMALL, sync)
    append(spool, line(2))
    assert not list(tmp_path.glob("*.sent"))
    synced.clear()
    spool.read_from(START, 1)
    assert (tmp_path / "00000001.sent").exists()
    assert synced == [tmp_path.name]
    spool.read_from(START, 1)
    assert synced == [tmp_path.name]  # once a segment
    spool.close()


def test_where_nothing_may_be_merged_the_oldest_goes(tmp_path: Path) -> None:
    spool = opened(tmp_path, SMALL)
    for payload in line(300):
        spool.append([(payload, b"")])
        read_all(spool)  # the collector takes them and never answers
        assert spool.counts().bytes <= SMALL.quota
    counts = spool.counts()
    assert counts.merged == 0
    assert counts.dropped == 300 - counts.records > 0
    spool.close()


class Failing(InProcess):
    def coarser(self, *_: object) -> list[tuple[int, bytes]]:
        raise MergeFailed("no memory for it")


def test_a_merging_process_that_cannot_run_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    failing = Failing()
    spool = Spool(tmp_path, BOOT, SMALL, merging=failing)
    append(spool, line(85), SMALL.quota)
    kept = spool.counts()
    assert "cannot be merged: no memory for it" in spool.problem
    append(spool, line(100, 85), SMALL.quota)
    assert spool.counts().dropped > 0
    spool.merging.coarser = InProcess().coarser  # type: ignore[method-assign]
    append(spool, line(100, 185), SMALL.quota)
    assert spool.problem == ""
    assert spool.counts().merged > 0
    assert kept.dropped == 0  # there was time to try again before anything had to go
    spool.close()


def test_a_record_damaged_before_it_was_merged_becomes_a_gap_of_its_energy(tmp_path: Path) -> None:
    spool = opened(tmp_path, LARGE)
    append(spool, line(40))
    spool.close()
    path = tmp_path / "00000002.seg"
    content = bytearray(path.read_bytes())
    content[content.index(line(12)[11])] ^= 1
    path.write_bytes(content)
    spool = opened(tmp_path, SMALL)
    append(spool, line(300, 40), SMALL.quota)
    assert spool.counts().damaged == 1
    assert spool.counts().merged > 0
    (gap,) = gaps_in(payloads(spool))
    lost_uj = line_energy_uj(12) - line_energy_uj(11)
    assert gap.lower_uj == gap.upper_uj == lost_uj
    assert energy_uj(payloads(spool)) == line_energy_uj(340) - lost_uj
    spool.close()


class PowerCut(BaseException):
    """Nothing of this process goes on."""


class Cut:
    """Lets so many operations on files pass; then everything stops."""

    names = ("open", "pwrite", "rename", "replace", "unlink", "ftruncate", "truncate")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
        self.left = after
        self.error: int | None = None
        for name in self.names:
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))

    def sync(self, descriptor: int) -> None:
        self._count()
        os.fsync(descriptor)

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self._count()
            return real(*args, **options)

        return call

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            if self.error is not None:
                raise OSError(self.error, os.strerror(self.error))
            raise PowerCut


@pytest.fixture(scope="module")
def nearly_full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """Return a spool whose next append merges, and how many records it was given."""
    folder = tmp_path_factory.mktemp("full") / "spool"
    spool = opened(folder, SMALL)
    given = 0
    while True:
        before, number = shutil.copytree(folder, folder.parent / f"copy{given}"), given
        merged = spool.counts().merged
        append(spool, line(1, given))
        given += 1
        if spool.counts().merged > merged > 0:
            break
        shutil.rmtree(before)
    spool.close()
    return before, number


def test_a_crash_at_any_file_operation_of_a_merge_loses_and_doubles_nothing(
    tmp_path: Path, nearly_full: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    full, given = nearly_full
    operations = 0
    while True:
        folder = shutil.copytree(full, tmp_path / f"cut{operations}")
        spool = opened(folder, SMALL)
        with monkeypatch.context() as patch:
            cut = Cut(patch, operations)
            spool._sync = spool._room._sync = cut.sync
            try:
                append(spool, line(1, given))
            except PowerCut:
                whole = False
            else:
                whole = True
        os.close(spool._lock)
        if whole:
            assert spool.counts().merged > 0
            break
        spool = opened(folder, SMALL)
        assert not (folder / "merging").exists()
        found = energy_uj(unread(folder))
        assert found in (line_energy_uj(given), line_energy_uj(given + 1)), operations
        there = given + (found == line_energy_uj(given + 1))
        assert spool.counts().damaged <= 1  # the append that was cut off
        append(spool, line(50, there), SMALL.quota)
        assert energy_uj(payloads(spool)) == line_energy_uj(there + 50)
        records = read_all(spool)
        assert len(set(keys(records))) == len(records)
        spool.close()
        operations += 1
    assert operations > 12


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_an_error_at_any_file_operation_of_a_merge_loses_and_doubles_nothing(
    tmp_path: Path, nearly_full: tuple[Path, int], monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    full, given = nearly_full
    for operations in range(16):
        folder = shutil.copytree(full, tmp_path / f"cut{operations}")
        spool = opened(folder, SMALL)
        there = given
        with monkeypatch.context() as patch:
            cut = Cut(patch, operations)
            cut.error = error
            spool._sync = spool._room._sync = cut.sync
            with suppress(SpoolError):
                append(spool, line(1, given))
                there += 1
        spool._sync = spool._room._sync = os.fsync
        assert spool.counts().dropped == 0
        # What a failed write left counts until a successor's header says where it ends (S4).
        found = energy_uj(unread(folder))
        assert found in (line_energy_uj(there), line_energy_uj(given + 1)), operations
        append(spool, line(20, there), SMALL.quota)
        assert energy_uj(unread(folder)) == line_energy_uj(there + 20)
        spool.close()
        spool = opened(folder, SMALL)
        assert energy_uj(payloads(spool)) == line_energy_uj(there + 20)
        spool.close()
