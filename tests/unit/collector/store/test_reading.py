"""Queries over damage, over files that go away, and from many threads."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Container
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chipwatt.collector.store.block_file import open_blocks
from chipwatt.collector.store.config import DAY_NS, HOUR_NS
from chipwatt.collector.store.sqlite_store import SqliteStore
from unit.collector.store.batches import DAY0_UNIX_NS, FakeHost, config

ALL = (0, 1 << 62)


def two_days(path: Path) -> tuple[SqliteStore, FakeHost]:
    store = SqliteStore(config(path))
    host = FakeHost(1)
    for day in range(2):
        host.start_unix_ns = DAY0_UNIX_NS + day * DAY_NS
        for _ in range(12):
            store.commit([host.batch()])
        store.compact(host.start_unix_ns + HOUR_NS)
    return store, host


def day_file(path: Path, day: int) -> Path:
    return sorted((path / "blocks").glob("raw-*.sqlite"))[day]


def test_one_flipped_bit_costs_one_block(tmp_path: Path) -> None:
    store, host = two_days(tmp_path / "store")
    with sqlite3.connect(day_file(tmp_path / "store", 0)) as connection:
        number, data = connection.execute("SELECT id, data FROM block WHERE kind = 3").fetchone()
        broken = bytes([*data[:40], data[40] ^ 1, *data[41:]])
        connection.execute("UPDATE block SET data = ? WHERE id = ?", (broken, number))
    connection.close()
    assert len(store.windows(host.host, *ALL)) == 48 - 12
    assert store.damaged == 1
    store.expire(DAY0_UNIX_NS + 4 * DAY_NS)
    assert len(store.windows(host.host, *ALL)) == 6
    store.close()


@pytest.mark.parametrize("left", [0, 5000, 9000])
def test_a_torn_file_costs_a_day_and_no_more(tmp_path: Path, left: int) -> None:
    store, host = two_days(tmp_path / "store")
    store.close()
    torn = day_file(tmp_path / "store", 0)
    torn.write_bytes(torn.read_bytes()[:left])
    store = SqliteStore(config(tmp_path / "store"))
    found = store.windows(host.host, *ALL)
    assert {w.start_unix_ns // DAY_NS for w in found} == {DAY0_UNIX_NS // DAY_NS + 1}
    assert len(found) == 24
    assert store.damaged >= 1
    store.commit([host.batch()])
    store.expire(DAY0_UNIX_NS + 5 * DAY_NS)
    assert not torn.exists()
    assert sum(w.duration_ns for w in store.windows(host.host, *ALL)) == 26 * 10 * 10**9
    store.close()


def test_a_torn_file_does_not_stop_what_comes(tmp_path: Path) -> None:
    store, host = two_days(tmp_path / "store")
    store.close()
    torn = day_file(tmp_path / "store", 1)
    torn.write_bytes(torn.read_bytes()[:5000])
    store = SqliteStore(config(tmp_path / "store"))
    for _ in range(6):
        store.commit([host.batch()])
    store.compact(host.start_unix_ns + HOUR_NS)
    assert len(store.windows(host.host, *ALL)) == 24 + 12
    store.close()


def test_a_lost_file_costs_a_day_and_no_more(tmp_path: Path) -> None:
    store, host = two_days(tmp_path / "store")
    day_file(tmp_path / "store", 0).unlink()
    assert len(store.windows(host.host, *ALL)) == 24
    assert store.damaged == 1
    store.expire(DAY0_UNIX_NS + 5 * DAY_NS)
    assert len(store.windows(host.host, *ALL)) == 4
    store.close()


def test_a_query_begins_again_where_its_file_is_retired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, host = two_days(tmp_path / "store")
    retired = threading.Event()

    def late(path: Path, visible: Container[int]) -> object:
        if not retired.is_set():
            retired.set()
            store.expire(DAY0_UNIX_NS + 5 * DAY_NS)
        return open_blocks(path, visible)

    monkeypatch.setattr("chipwatt.collector.store.reading.open_blocks", late)
    windows = store.windows(host.host, *ALL)
    assert sum(w.energy_uj for w in windows) == host.sent_uj
    assert store.damaged == 0
    store.close()


def test_readers_never_see_half_or_twice(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    host = FakeHost(1)
    done = threading.Event()
    committed = [0]

    def write() -> None:
        try:
            for n in range(120):
                batch = host.batch()
                store.commit([batch])
                committed[0] = host.sent_uj
                if n % 10 == 9:
                    store.compact(host.start_unix_ns + HOUR_NS)
                if n % 40 == 39:
                    store.expire(DAY0_UNIX_NS + 5 * DAY_NS)
        finally:
            done.set()

    def read() -> int:
        count = 0
        while not done.is_set():
            least = committed[0]
            windows = store.windows(host.host, *ALL)
            assert least <= sum(w.energy_uj for w in windows) <= host.sent_uj
            for device in host.ids:
                mine = [w for w in windows if w.device == device]
                ends = [w.cumulative_uj for w in mine]
                begins = [w.cumulative_uj - w.energy_uj for w in mine]
                assert begins[1:] == ends[:-1]
            count += 1
        return count

    with ThreadPoolExecutor(3) as threads:
        writing = threads.submit(write)
        readers = [threads.submit(read) for _ in range(2)]
        writing.result()
        assert all(reader.result() for reader in readers)
    assert sum(w.energy_uj for w in store.windows(host.host, *ALL)) == host.sent_uj
    store.close()
