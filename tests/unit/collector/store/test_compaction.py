"""Work on blocks that ends half way: before its transaction nothing of it counts, after it all."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from chipwatt.collector.store.compaction import slots_of
from chipwatt.collector.store.config import DAY_NS, HOUR_NS, MINUTE_NS
from chipwatt.collector.store.shelf import Draft
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.errors import StoreError
from unit.collector.store.batches import DAY0_UNIX_NS, FakeHost, config

ALL = (0, 1 << 62)


def broken(_: Draft, connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO nowhere VALUES (1)")


def died(_: Draft) -> None:
    """Do nothing any more, as a process that is gone."""


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("work", ["compact", "expire"])
def test_work_that_fails_is_as_if_it_had_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: bool, work: str
) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    hosts = [FakeHost(n) for n in range(3)]
    for _ in range(12):
        store.commit([host.batch() for host in hosts])
    until = hosts[0].start_unix_ns + HOUR_NS
    if work == "expire":
        store.compact(until)
    before = [store.windows(host.host, *ALL) for host in hosts]
    with monkeypatch.context() as patch:
        patch.setattr(Draft, "finish", broken)
        if dies:
            patch.setattr(Draft, "abandon", died)
        for _ in range(3):
            with pytest.raises(StoreError):
                store.expire(DAY0_UNIX_NS + 4 * DAY_NS)
    assert [store.windows(host.host, *ALL) for host in hosts] == before
    if dies:
        store.close()
        store = SqliteStore(config(tmp_path / "store"))
        assert [store.windows(host.host, *ALL) for host in hosts] == before
    store.compact(until)
    assert [store.windows(host.host, *ALL) for host in hosts] == before
    assert (store.energy_check().holes, store.energy_check().twice_uj) == (0, 0)
    store.expire(DAY0_UNIX_NS + 4 * DAY_NS)
    for host in hosts:
        minutes = store.windows(host.host, *ALL)
        assert len(minutes) == 4
        assert sum(w.energy_uj for w in minutes) == host.sent_uj
    store.close()


def test_a_full_disk_stops_compaction_until_there_is_room(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    host = FakeHost(1)
    for _ in range(12):
        store.commit([host.batch()])
    blocks = tmp_path / "store" / "blocks"
    blocks.rmdir()
    blocks.touch()  # no file can be made here now
    for _ in range(2):
        with pytest.raises(StoreError, match="cannot write blocks"):
            store.compact(host.start_unix_ns + HOUR_NS)
    assert len(store.windows(host.host, *ALL)) == 24
    blocks.unlink()
    blocks.mkdir()
    store.compact(host.start_unix_ns + HOUR_NS)
    assert len(list(blocks.glob("raw-*.sqlite"))) == 1
    assert len(store.windows(host.host, *ALL)) == 24
    store.close()


def test_slots_are_bounded_by_when_rows_came() -> None:
    received = np.full(4, DAY0_UNIX_NS + 30 * 10**9)
    starts = np.array([DAY0_UNIX_NS, DAY0_UNIX_NS + 5 * DAY_NS, 0, (1 << 63) - 1])
    assert slots_of(starts, received, received, MINUTE_NS).tolist() == [
        DAY0_UNIX_NS,
        DAY0_UNIX_NS + 2 * MINUTE_NS,
        DAY0_UNIX_NS - 400 * DAY_NS,
        DAY0_UNIX_NS + 2 * MINUTE_NS,
    ]
    true = received - 3650 * DAY_NS  # the clock is ten years ahead, hosts are not
    assert slots_of(true, received, true, MINUTE_NS).tolist() == (true - 30 * 10**9).tolist()
