"""A store that is taken away under its collector: nothing is acked that is written nowhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from chipwatt.collector.store.anchor import Anchor
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.errors import StoreError
from unit.collector.store.batches import FakeHost, config

ALL = (0, 1 << 62)


def test_a_directory_that_goes_and_comes_back(tmp_path: Path) -> None:
    path, host = tmp_path / "store", FakeHost(1)
    store = SqliteStore(config(path))
    store.commit([host.batch()])
    path.rename(tmp_path / "aside")
    batch = host.batch()
    for _ in range(2):
        with pytest.raises(StoreError, match="deleted, replaced or unmounted"):
            store.commit([batch])
    shutil.copytree(tmp_path / "aside", path)  # the same contents are not the same files
    with pytest.raises(StoreError, match="deleted, replaced or unmounted"):
        store.commit([batch])
    shutil.rmtree(path)
    (tmp_path / "aside").rename(path)
    store.commit([batch])
    assert sum(w.energy_uj for w in store.windows(host.host, *ALL)) == host.sent_uj
    store.close()
    store = SqliteStore(config(path))
    assert sum(w.energy_uj for w in store.windows(host.host, *ALL)) == host.sent_uj
    store.close()


@pytest.mark.parametrize("name", ["catalogue.sqlite", "catalogue.sqlite-wal"])
def test_each_file_that_a_commit_lives_in_is_watched(tmp_path: Path, name: str) -> None:
    path, host = tmp_path / "store", FakeHost(1)
    store = SqliteStore(config(path))
    store.commit([host.batch()])
    (path / name).unlink()
    with pytest.raises(StoreError, match=name):
        store.commit([host.batch()])
    store.close()


def test_what_went_astray_while_it_was_committed_is_not_written_twice(tmp_path: Path) -> None:
    database = tmp_path / "database"
    for name in ("database", "database-wal"):
        (tmp_path / name).write_bytes(b"")
    anchor = Anchor(database)
    anchor.check()
    database.rename(tmp_path / "aside")
    with pytest.raises(StoreError):
        anchor.check_committed()
    (tmp_path / "aside").rename(database)
    with pytest.raises(StoreError):
        anchor.check()  # only a restart tells which file has the commit
