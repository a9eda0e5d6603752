"""Commits that vanish with the end of the log are counted, bounded and told."""

from __future__ import annotations

import shutil
from copy import deepcopy
from pathlib import Path

import pytest

from chipwatt.collector.store.config import HOUR_NS
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.collector.store.tally import SLOTS, Commit, Tally
from chipwatt.core.errors import StoreError
from chipwatt.core.model import GapReason
from unit.collector.store.batches import DAY0_UNIX_NS, FakeHost, config

ALL = (0, 1 << 62)
WAL = "catalogue.sqlite-wal"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FakeHost]:
    """The store of a collector that was killed after ten commits, and its host."""
    folder = tmp_path_factory.mktemp("template")
    store, host = SqliteStore(config(folder / "live")), FakeHost(1)
    for _ in range(10):
        store.commit([host.batch(windows=6)])
    shutil.copytree(folder / "live", folder / "copy")
    store.close()
    return folder / "copy", host


@pytest.fixture
def killed(template: tuple[Path, FakeHost], tmp_path: Path) -> tuple[Path, FakeHost]:
    """A copy of it."""
    shutil.copytree(template[0], tmp_path / "copy")
    return tmp_path / "copy", deepcopy(template[1])


def test_a_whole_log_is_no_loss(killed: tuple[Path, FakeHost]) -> None:
    path, host = killed
    store = SqliteStore(config(path))
    assert store.damaged == 0
    assert sum(w.energy_uj for w in store.windows(host.host, *ALL)) == host.sent_uj
    store.close()


@pytest.mark.parametrize(
    ("how", "share"),
    [("flip", 0.001), ("flip", 0.3), ("flip", 0.7), ("flip", 0.97), ("cut", 0.5), ("gone", 0.0)],
)
def test_commits_that_vanished_are_a_counted_loss(
    killed: tuple[Path, FakeHost], how: str, share: float
) -> None:
    path, host = killed
    log = path / WAL
    data = bytearray(log.read_bytes())
    at = int(len(data) * share)
    data[at] ^= 4
    log.write_bytes(data if how == "flip" else data[:at])
    if how == "gone":
        log.unlink()
    store = SqliteStore(config(path))
    windows = store.windows(host.host, *ALL)
    if len(windows) == 10 * 12:
        assert store.damaged == 0  # it hit what was in the database already
        store.close()
        return
    assert store.damaged == 1
    host.sequence += 1
    for _ in range(3):
        store.commit([host.batch(windows=6)])
    store.compact(host.start_unix_ns + HOUR_NS)
    windows, gaps = store.windows(host.host, *ALL), store.gaps(host.host, *ALL)
    assert {gap.reason for gap in gaps} == {GapReason.STORE_DAMAGED}
    left = sum(w.energy_uj for w in windows)
    # Where something is left before it, the counter says what is lost to the µJ.
    least = sum(g.lower_uj for g in gaps)
    most = sum(g.upper_uj for g in gaps)
    assert left + least <= host.sent_uj <= left + most
    if any(w.start_unix_ns == DAY0_UNIX_NS for w in windows):
        assert least == most
    store.close()
    store = SqliteStore(config(path))
    assert store.damaged == 1  # told once, and kept
    assert store.windows(host.host, *ALL) == windows
    store.close()


def test_blocks_of_work_that_vanished_never_count(tmp_path: Path) -> None:
    store, host = SqliteStore(config(tmp_path / "live")), FakeHost(1)
    store.commit([host.batch(windows=6)])
    shutil.copytree(tmp_path / "live", tmp_path / "copy")
    store.commit([host.batch(windows=6)])
    store.compact(host.start_unix_ns + HOUR_NS)
    shutil.copytree(tmp_path / "live" / "blocks", tmp_path / "copy" / "blocks", dirs_exist_ok=True)
    shutil.copy(tmp_path / "live" / "commits", tmp_path / "copy" / "commits")
    store.close()
    store = SqliteStore(config(tmp_path / "copy"))
    for _ in range(3):
        store.commit([host.batch(windows=6)])
        store.compact(host.start_unix_ns + HOUR_NS, settle_ns=-HOUR_NS)
    assert len(store.windows(host.host, *ALL)) == 4 * 12
    assert store.damaged == 1
    assert len(store.gaps(host.host, *ALL)) == len(host.ids)
    store.close()


def test_a_store_whose_catalogue_is_gone_is_not_begun_anew(killed: tuple[Path, FakeHost]) -> None:
    path, _ = killed
    for name in ("catalogue.sqlite", WAL):
        (path / name).unlink()
    with pytest.raises(StoreError, match="holds a list of commits but no catalogue"):
        SqliteStore(config(path))


def test_the_list_keeps_the_newest_and_ignores_what_is_torn(tmp_path: Path) -> None:
    tally = Tally(tmp_path)
    for number in range(1, SLOTS + 11):
        tally.note(Commit(number, number, number - 5, number + 5))
    assert [one.number for one in tally.after(SLOTS)] == list(range(SLOTS + 1, SLOTS + 11))
    assert tally.after(0)[0] == Commit(11, 11, 6, 16)
    path = tmp_path / "commits"
    data = bytearray(path.read_bytes())
    data[10 * 40 + 3] ^= 1
    path.write_bytes(data)
    assert [one.number for one in tally.after(SLOTS)] == list(range(SLOTS + 1, SLOTS + 10))
    tally.close()
    tally.close()
