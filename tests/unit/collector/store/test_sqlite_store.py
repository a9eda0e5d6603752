"""The store as its contract has it: what went in comes out, once, whatever happens between."""

from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.collector.store.config import DAY_NS, HOUR_NS, MINUTE_NS
from chipwatt.collector.store.contract import HostRow
from chipwatt.collector.store.faults import StoreFull
from chipwatt.collector.store.quarantine import Conflict, Quarantined
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.errors import StoreError
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import AbsentReason, Domain, Interface, Method, Statistic
from chipwatt.core.records import (
    AbsentInterface,
    AgentHealth,
    DeviceWindow,
    Records,
    SensorStatus,
)
from unit.collector.store.batches import DAY0_UNIX_NS, WINDOW_NS, FakeHost, config

ALL = (0, 1 << 62)


def key(window: DeviceWindow) -> tuple[int, DeviceId]:
    return window.start_unix_ns, window.device


def test_what_went_in_comes_out_before_and_after_compaction(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    hosts = [FakeHost(n) for n in range(3)]
    sent = {host.host: [host.records(gap=n == 0) for n in range(20)] for host in hosts}
    for step in range(20):
        store.commit([host.batch(sent[host.host][step]) for host in hosts])
    for compacted in (False, True):
        if compacted:
            store.compact(hosts[0].start_unix_ns, settle_ns=30 * 10**9)
        for host in hosts:
            windows = [w for records in sent[host.host] for w in records.windows]
            assert sorted(store.windows(host.host, *ALL), key=key) == sorted(windows, key=key)
            seconds = [s for records in sent[host.host] for s in records.host_seconds]
            assert store.host_seconds(host.host, *ALL) == seconds
            assert store.gaps(host.host, *ALL) == list(sent[host.host][0].gaps)
    totals = store.totals()
    assert (totals.batches, totals.device_windows, totals.host_seconds, totals.gaps) == (
        60, 120, 600, 3,
    )  # fmt: skip
    assert totals.root_energy_uj == sum(host.sent_uj for host in hosts)
    assert totals.bytes_on_disk > 10_000
    store.close()


def test_ranges_limits_devices_and_domains(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    host = FakeHost(5)
    windows: list[DeviceWindow] = []
    for _ in range(30):
        records = host.records()
        windows += records.windows
        store.commit([host.batch(records)])
    store.compact(host.start_unix_ns, settle_ns=100 * 10**9)
    begin, end = DAY0_UNIX_NS + 3 * WINDOW_NS, DAY0_UNIX_NS + 25 * WINDOW_NS
    expected = [w for w in windows if begin <= w.start_unix_ns < end]
    assert sorted(store.windows(host.host, begin, end), key=key) == sorted(expected, key=key)
    first = store.windows(host.host, begin, end, limit=7)
    assert [w.start_unix_ns for w in first] == [w.start_unix_ns for w in expected[:7]]
    one = store.windows(host.host, begin, end, device=host.ids[1])
    assert one == [w for w in expected if w.device == host.ids[1]]
    assert store.windows(host.host, begin, end, domain=Domain.DRAM) == []
    assert store.windows(host.host, end, begin) == []
    everything = store.windows(host.host, -(1 << 70), 1 << 70, resolution_ns=HOUR_NS)
    assert sum(w.energy_uj for w in everything) == host.sent_uj
    assert store.windows(host.host, begin, end, limit=0) == []
    assert store.windows(b"?" * 16, begin, end) == []
    assert store.windows(host.host, begin, end, device=DeviceId(host.ids[0].kind, 99)) == []
    store.close()


def test_a_coarser_resolution_is_merged_in_the_answer(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    host = FakeHost(1)
    for _ in range(60):
        store.commit([host.batch()])
    minutes = store.windows(host.host, *ALL, resolution_ns=MINUTE_NS)
    assert len(minutes) == 20
    assert {w.duration_ns for w in minutes} == {MINUTE_NS}
    assert sum(w.energy_uj for w in minutes) == host.sent_uj
    some = store.windows(host.host, *ALL, resolution_ns=MINUTE_NS, limit=5)
    assert some == minutes[:5]
    # A range that cuts a bin takes the bins that begin in it, whole.
    later = store.windows(host.host, DAY0_UNIX_NS + 1, ALL[1], resolution_ns=MINUTE_NS)
    assert later == minutes[2:]
    store.close()


def test_status_keeps_the_newest(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    host = FakeHost(1)
    sensor = SensorStatus(
        host.ids[0], Domain.PACKAGE, Statistic.ENERGY, Interface.NVML, Method.COUNTER, True,
        1, 2, 3, 4, 5,
    )  # fmt: skip
    absent = AbsentInterface(Interface.HSMP, AbsentReason.NOT_PRESENT)
    missing = AbsentInterface(Interface.NVML, AbsentReason.LIBRARY_MISSING)
    health = AgentHealth(1, 2, 3, 4, 5, 6, 7)
    store.commit([host.batch(Records(absent=(absent, missing)))])
    older = host.batch(Records(agent=(AgentHealth(9, 9, 9, 9, 9, 9, 9), health)))
    newer = host.batch(Records(sensors=(sensor,), agent=(health,)))
    store.commit([newer])
    store.commit([older])
    assert store.sensors(host.host) == [sensor]
    assert store.absent(host.host) == [absent]
    assert store.health(host.host) == health
    assert store.sensors(b"?" * 16) == []
    assert store.health(b"?" * 16) is None
    store.close()


def test_a_commit_is_all_or_nothing(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    first, second = FakeHost(1), FakeHost(2)
    store.commit([first.batch()])
    with store._catalogue.lock:
        pages = store._catalogue._writer.execute("PRAGMA page_count").fetchone()[0]
        store._catalogue._writer.execute(f"PRAGMA max_page_count={pages}")
    before = store.totals(), store.streams(), store.host_dictionary(), store.device_dictionary()
    big = second.batch(windows=300)
    with pytest.raises(StoreFull, match="disk is full"):
        store.commit([first.batch(), big])
    after = store.totals(), store.streams(), store.host_dictionary(), store.device_dictionary()
    assert after[1:] == before[1:]
    assert after[0].batches == 1
    assert len(store.windows(first.host, *ALL)) == 2  # reads are still served
    store._catalogue._writer.execute("PRAGMA max_page_count=1000000")
    store.commit([big])
    assert len(store.windows(second.host, *ALL)) == 600
    store.close()


def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    hosts = [FakeHost(n) for n in range(2)]
    for step in range(30):
        store.commit([host.batch() for host in hosts])
        if step == 20:
            store.compact(hosts[0].start_unix_ns)
    store.note_host(HostRow(hosts[0].host, "n1", 5, hosts[0].start_unix_ns, 7, 8))
    state = (
        store.streams(), store.host_dictionary(), store.device_dictionary(),
        store.windows(hosts[1].host, *ALL), store.host_seconds(hosts[0].host, *ALL),
    )  # fmt: skip
    seen = [row.last_seen_unix_ns for row in store.hosts()]
    store.close()
    store = SqliteStore(config(tmp_path / "store"))
    assert state == (
        store.streams(), store.host_dictionary(), store.device_dictionary(),
        store.windows(hosts[1].host, *ALL), store.host_seconds(hosts[0].host, *ALL),
    )  # fmt: skip
    assert [row.last_seen_unix_ns for row in store.hosts()] == seen
    assert store.streams()[0].seen == ((1, 30),)
    store.close()


def test_hosts_are_noted_before_they_send(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    store.note_host(HostRow(b"h" * 16, "node-1", 100, 100, 1_002_003, -5))
    store.note_host(HostRow(b"h" * 16, "node-1", 200, 200, 1_002_004, -6))
    assert store.hosts() == [HostRow(b"h" * 16, "node-1", 100, 200, 1_002_004, -6)]
    store.close()
    store = SqliteStore(config(tmp_path / "store"))
    assert store.host_dictionary() == [b"h" * 16]
    store.close()


def test_rows_are_rolled_up_and_deleted_in_time(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    host = FakeHost(1)
    for n in range(3):
        for _ in range(4):
            store.commit([host.batch(host.records(90, gap=True))])
        host.start_unix_ns = DAY0_UNIX_NS + (n + 1) * DAY_NS
    now = DAY0_UNIX_NS + 3 * DAY_NS - MINUTE_NS
    store.expire(now)
    assert len(store.windows(host.host, *ALL, limit=10**6)) == 3 * 360 * 2
    for day, resolution in ((3, MINUTE_NS), (31, 10 * MINUTE_NS), (300, HOUR_NS)):
        store.expire(DAY0_UNIX_NS + day * DAY_NS + 8 * DAY_NS * (day > 3))
        windows = store.windows(host.host, *ALL, limit=10**6)
        assert sum(w.energy_uj for w in windows) == host.sent_uj
        rolled = [w for w in windows if w.start_unix_ns < DAY0_UNIX_NS + DAY_NS]
        assert {w.duration_ns for w in rolled} == {resolution}
        assert len(store.gaps(host.host, *ALL)) == 12
    store.expire(DAY0_UNIX_NS + 6 * 365 * DAY_NS)
    assert store.windows(host.host, *ALL) == []
    assert store.gaps(host.host, *ALL) == []
    assert list((tmp_path / "store" / "blocks").iterdir()) == []
    store.close()


def test_what_comes_late_for_a_rolled_up_day_is_kept(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    host = FakeHost(1)
    early, late = [host.batch() for _ in range(6)], [host.batch() for _ in range(6)]
    store.commit(early + late[3:])
    store.expire(DAY0_UNIX_NS + 4 * DAY_NS)
    store.commit(late[:3])
    for day in (4, 5):
        store.expire(DAY0_UNIX_NS + day * DAY_NS)
        windows = store.windows(host.host, *ALL)
        assert sum(w.energy_uj for w in windows) == host.sent_uj
    minutes = store.windows(host.host, *ALL, resolution_ns=MINUTE_NS)
    assert [w.duration_ns for w in minutes] == [MINUTE_NS] * 4
    store.close()


def test_a_wrong_clock_moves_a_rows_place_not_its_content(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    host = FakeHost(1)
    records = host.records()
    host.start_unix_ns = DAY0_UNIX_NS + 3650 * DAY_NS
    future = host.records()
    host.start_unix_ns = DAY0_UNIX_NS + WINDOW_NS
    store.commit([host.batch(records), host.batch(future)])
    store.compact(host.start_unix_ns + HOUR_NS)
    assert len(list((tmp_path / "store" / "blocks").glob("raw-*.sqlite"))) == 1
    found = store.windows(host.host, DAY0_UNIX_NS + 3650 * DAY_NS, ALL[1])
    assert found == list(future.windows)
    store.expire(DAY0_UNIX_NS + 4 * DAY_NS)
    assert sum(w.energy_uj for w in store.windows(host.host, *ALL)) == host.sent_uj
    store.close()


def test_conflicts_are_put_aside_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chipwatt.collector.store.quarantine.MAX_QUARANTINED", 3)
    store = SqliteStore(config(tmp_path / "store"))
    batch = FakeHost(1).batch()
    for n in range(5):
        store.quarantine([Quarantined(batch.key, batch.digest, n, b"payload %d" % n)])
    kept = store.quarantined()
    assert kept == [Quarantined(batch.key, batch.digest, n, b"payload %d" % n) for n in (2, 3, 4)]
    assert store.conflicts() == [Conflict(batch.key, batch.digest, n) for n in (4, 3, 2)]
    store.close()


def test_a_store_has_one_owner(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    with pytest.raises(StoreError, match="another collector has this store open"):
        SqliteStore(config(tmp_path / "store"))
    store.close()
    store.close()
    with pytest.raises(StoreError, match="the store is closed"):
        store.streams()
    with pytest.raises(StoreError, match="the store is closed"):
        store.commit([FakeHost(1).batch()])
    SqliteStore(config(tmp_path / "store")).close()


def test_places_that_are_no_store_are_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="not a directory"):
        SqliteStore(config(tmp_path / "file"))
    with pytest.raises(StoreError, match="cannot make the store's directory"):
        SqliteStore(config(tmp_path / "file" / "below"))
    store = SqliteStore(config(tmp_path / "store"))
    store._catalogue._writer.execute("PRAGMA user_version=99")
    store.close()
    with pytest.raises(StoreError, match="written by a newer Chipwatt"):
        SqliteStore(config(tmp_path / "store"))
    (tmp_path / "store" / "catalogue.sqlite").unlink()
    (tmp_path / "store" / "blocks" / "raw-00000001.sqlite").touch()
    with pytest.raises(StoreError, match="holds blocks but no catalogue"):
        SqliteStore(config(tmp_path / "store"))
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "catalogue.sqlite").write_bytes(b"not a database at all, sorry " * 100)
    with pytest.raises(StoreError, match="damaged"):
        SqliteStore(config(tmp_path / "torn"))
