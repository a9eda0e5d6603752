"""Damaged files of the store: only what is damaged is lost and told as gaps; all else goes on."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from chipwatt.collector.store.config import DAY_NS, HOUR_NS
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.errors import ChipwattError, StoreError
from chipwatt.core.model import GapReason
from unit.collector.store.batches import DAY0_UNIX_NS, FakeHost, config

ALL = (0, 1 << 62)
PAGE = 8192


def an_hour(path: Path, *, compacted: bool = True) -> tuple[SqliteStore, FakeHost]:
    """Return a store that holds an hour of one host; each batch two minutes long."""
    store, host = SqliteStore(config(path)), FakeHost(1)
    for _ in range(30):
        store.commit([host.batch(windows=12)])
    if compacted:
        store.compact(host.start_unix_ns + HOUR_NS)
    return store, host


def accounted_uj(store: SqliteStore, host: FakeHost) -> int:
    """Return the energy of all windows and gaps; gaps beside whole windows must be exact."""
    gaps = store.gaps(host.host, *ALL)
    assert all(gap.reason is GapReason.STORE_DAMAGED for gap in gaps)
    assert all(gap.lower_uj == gap.upper_uj for gap in gaps)
    windows = store.windows(host.host, *ALL, limit=1 << 40)
    return sum(w.energy_uj for w in windows) + sum(gap.lower_uj for gap in gaps)


def raw_file(path: Path) -> Path:
    (found,) = (path / "blocks").glob("raw-*.sqlite")
    return found


def flip_block(path: Path, *, kind: int = 3, at: int = 20) -> None:
    with closing(sqlite3.connect(raw_file(path))) as connection, connection:
        number, data = connection.execute(
            "SELECT id, data FROM block WHERE kind = ? ORDER BY slot LIMIT 1 OFFSET ?", (kind, at)
        ).fetchone()
        broken = bytes([*data[:40], data[40] ^ 1, *data[41:]])
        connection.execute("UPDATE block SET data = ? WHERE id = ?", (broken, number))


def test_a_flipped_bit_is_found_at_the_start_and_told_as_an_exact_gap(tmp_path: Path) -> None:
    store, host = an_hour(tmp_path / "store")
    store.close()
    flip_block(tmp_path / "store")
    store = SqliteStore(config(tmp_path / "store"))
    assert store.damaged == 1  # before anybody asked for the rows
    gaps = store.gaps(host.host, *ALL)
    assert len(gaps) == len(host.ids)
    assert {gap.duration_ns for gap in gaps} == {60 * 10**9}
    assert accounted_uj(store, host) == host.sent_uj
    store.gaps(host.host, *ALL)
    assert store.damaged == 1  # each place is counted once, however often it is met
    store.expire(DAY0_UNIX_NS + 4 * DAY_NS)
    store.close()
    store = SqliteStore(config(tmp_path / "store"))
    assert not raw_file_left(tmp_path / "store")
    assert accounted_uj(store, host) == host.sent_uj  # and after its file is rolled up and gone
    store.expire(DAY0_UNIX_NS + 7 * 365 * DAY_NS)
    assert store.damaged == 0
    store.close()


def raw_file_left(path: Path) -> bool:
    return any((path / "blocks").glob("raw-*.sqlite"))


@pytest.mark.parametrize("how", ["missing", "emptied", "torn"])
def test_a_file_that_is_gone_is_a_gap_between_what_is_left(tmp_path: Path, how: str) -> None:
    store, host = an_hour(tmp_path / "store")
    store.commit([host.batch(windows=12)])
    host.start_unix_ns += 2 * DAY_NS  # silent, with the same counter
    store.commit([host.batch(windows=12)])
    store.compact(host.start_unix_ns + HOUR_NS)
    store.close()
    first, _ = sorted((tmp_path / "store" / "blocks").glob("raw-*.sqlite"))
    spoil_file(first, how)
    store = SqliteStore(config(tmp_path / "store"))
    assert store.damaged == 1
    assert len(store.windows(host.host, *ALL)) == 24
    gaps = store.gaps(host.host, *ALL)
    assert [gap.start_unix_ns for gap in gaps] == [DAY0_UNIX_NS] * len(host.ids)
    assert all(gap.reason is GapReason.STORE_DAMAGED for gap in gaps)
    left = sum(w.energy_uj for w in store.windows(host.host, *ALL))
    assert sum(gap.upper_uj for gap in gaps) >= host.sent_uj - left
    for _ in range(3):
        store.commit([host.batch(windows=12)])
    store.expire(host.start_unix_ns + HOUR_NS)
    assert len(store.windows(host.host, *ALL)) == 24 + 3 * 24
    store.close()


def spoil_file(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: 0 if how == "emptied" else 2 * PAGE + 5])


@pytest.mark.parametrize("how", ["missing", "emptied"])
def test_new_rows_of_a_day_whose_file_is_gone_begin_another(tmp_path: Path, how: str) -> None:
    store, host = an_hour(tmp_path / "store")
    spoil_file(raw_file(tmp_path / "store"), how)
    for _ in range(3):
        store.commit([host.batch(windows=12)])
    store.compact(host.start_unix_ns + HOUR_NS)
    assert store.damaged == 1
    assert len(store.windows(host.host, *ALL)) == 3 * 24
    lost_uj = sum(gap.upper_uj for gap in store.gaps(host.host, *ALL))
    left_uj = sum(w.energy_uj for w in store.windows(host.host, *ALL))
    assert lost_uj >= host.sent_uj - left_uj
    store.close()


def test_blocks_that_the_index_does_not_name_come_back(tmp_path: Path) -> None:
    store, host = an_hour(tmp_path / "store")
    store.close()
    path = raw_file(tmp_path / "store")
    with closing(sqlite3.connect(path)) as connection:
        root = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'block_place'"
        ).fetchone()[0]
    data = bytearray(path.read_bytes())
    end = root * PAGE  # the first cells lie at the end of their page
    data[end - 512 : end] = bytes(512)
    path.write_bytes(data)
    store = SqliteStore(config(tmp_path / "store"))
    assert len(store.windows(host.host, *ALL)) == 30 * 24
    assert store.damaged == 1  # told, though nothing is lost
    assert not store.gaps(host.host, *ALL)
    store.close()


def test_a_damaged_part_of_the_journal_is_a_gap(tmp_path: Path) -> None:
    store, host = an_hour(tmp_path / "store", compacted=False)
    store.close()
    with (
        closing(sqlite3.connect(tmp_path / "store" / "catalogue.sqlite")) as connection,
        connection,
    ):
        position, data = connection.execute(
            "SELECT position, data FROM part WHERE kind = 3 LIMIT 1 OFFSET 15"
        ).fetchone()
        broken = bytes([*data[:40], data[40] ^ 1, *data[41:]])
        connection.execute("UPDATE part SET data = ? WHERE position = ?", (broken, position))
        connection.execute("DELETE FROM part WHERE position = ?", (position + 10,))
    store = SqliteStore(config(tmp_path / "store"))
    store.windows(host.host, *ALL)
    assert accounted_uj(store, host) < host.sent_uj  # nobody has seen yet that one is missing
    store.compact(host.start_unix_ns + HOUR_NS)
    assert accounted_uj(store, host) == host.sent_uj
    assert store.damaged == 2
    store.close()


def test_a_damaged_status_costs_only_itself(tmp_path: Path) -> None:
    store, host = an_hour(tmp_path / "store")
    store.close()
    with (
        closing(sqlite3.connect(tmp_path / "store" / "catalogue.sqlite")) as connection,
        connection,
    ):
        for kind, row in ((7, '{"vransient_errors": 1}'), (5, '{"device": 900}'), (6, "\x00")):
            connection.execute("INSERT INTO status VALUES (0, ?, 0, 0, x'', ?)", (kind, row))
    store = SqliteStore(config(tmp_path / "store"))
    assert store.health(host.host) is None
    assert store.sensors(host.host) == []
    assert store.absent(host.host) == []
    assert store.damaged == 3
    store.close()


def test_a_host_of_nulls_is_told_in_a_sentence(tmp_path: Path) -> None:
    store, _ = an_hour(tmp_path / "store")
    store.close()
    path = tmp_path / "store" / "catalogue.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(host)")]
        with connection:
            connection.execute("CREATE TABLE other AS SELECT * FROM host")
            connection.execute("DROP TABLE host")
            connection.execute("ALTER TABLE other RENAME TO host")
            connection.execute(f"UPDATE host SET {columns[1]} = NULL, last_seen = NULL")
    with pytest.raises(StoreError, match="damaged"):
        SqliteStore(config(tmp_path / "store"))


def test_a_table_that_can_be_done_without_begins_anew(tmp_path: Path) -> None:
    store, host = an_hour(tmp_path / "store")
    store.close()
    path = tmp_path / "store" / "catalogue.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'fingerprint'"
        ).fetchone()
    data = bytearray(path.read_bytes())
    data[(root - 1) * PAGE : root * PAGE] = random.Random(1).randbytes(PAGE)
    path.write_bytes(data)
    store = SqliteStore(config(tmp_path / "store"))
    assert store.damaged
    assert len(store.windows(host.host, *ALL)) == 30 * 24
    store.commit([host.batch(windows=12)])
    store.expire(host.start_unix_ns + HOUR_NS)
    assert len(store.windows(host.host, *ALL)) == 31 * 24
    store.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FakeHost]:
    """A closed store of an hour in blocks and two minutes in the journal, and its host."""
    folder = tmp_path_factory.mktemp("whole")
    store, host = an_hour(folder)
    store.commit([host.batch(windows=12)])
    store.close()
    return folder, host


def spoil(path: Path, how: str, seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(path.read_bytes())
    at = chance.randrange(len(data))
    if how == "flip":
        data[at] ^= 1 << chance.randrange(8)
    elif how == "cut":
        del data[at:]
    else:
        length = min(512, len(data) - at)
        data[at : at + length] = bytes(length) if how == "zero" else chance.randbytes(length)
    path.write_bytes(data)


spoiled = given(st.integers(0, 1 << 32), st.sampled_from(["flip", "zero", "cut", "noise"]))


@settings(max_examples=15, deadline=None, phases=[Phase.generate])
@spoiled
def test_whatever_happens_to_a_file_of_blocks_nothing_is_lost_in_silence(
    whole: tuple[Path, FakeHost], tmp_path_factory: pytest.TempPathFactory, seed: int, how: str
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    template, host = whole
    shutil.copytree(template, folder, dirs_exist_ok=True)
    spoil(raw_file(folder), how, seed)
    store = SqliteStore(config(folder))
    left = sum(w.energy_uj for w in store.windows(host.host, *ALL))
    assert left <= host.sent_uj
    most = sum(gap.upper_uj for gap in store.gaps(host.host, *ALL))
    assert left + most >= host.sent_uj, "energy is gone and nobody says so"
    assert left == host.sent_uj or store.damaged
    store.expire(DAY0_UNIX_NS + 4 * DAY_NS)
    store.close()


@settings(max_examples=6, deadline=None, phases=[Phase.generate])
@spoiled
def test_whatever_happens_to_the_catalogue_is_told_in_a_sentence(
    whole: tuple[Path, FakeHost], tmp_path_factory: pytest.TempPathFactory, seed: int, how: str
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    template, host = whole
    shutil.copytree(template, folder, dirs_exist_ok=True)
    spoil(folder / "catalogue.sqlite", how, seed)
    try:
        store = SqliteStore(config(folder))
    except ChipwattError:
        return
    for ask in (store.streams, store.totals, store.conflicts, store.hosts):
        try:
            ask()
        except ChipwattError:
            continue
    try:
        store.sensors(host.host)
        store.windows(host.host, *ALL)
        store.gaps(host.host, *ALL)
        store.commit([FakeHost(2).batch(windows=12)])
        store.expire(DAY0_UNIX_NS + 4 * DAY_NS)
    except ChipwattError:
        pass
    finally:
        store.close()
