"""Rolling up in small steps: whenever it stops, every µJ is there once."""

from __future__ import annotations

from pathlib import Path

from chipwatt.collector.store.config import DAY_NS, MINUTE_NS
from chipwatt.collector.store.sqlite_store import SqliteStore
from unit.collector.store.batches import DAY0_UNIX_NS, FakeHost, config

ALL = (0, 1 << 62)
LATE = DAY0_UNIX_NS + 4 * DAY_NS


def a_day(path: Path) -> tuple[SqliteStore, list[FakeHost]]:
    store = SqliteStore(config(path))
    hosts = [FakeHost(n) for n in range(2)]
    for _ in range(5):
        store.commit([host.batch(host.records(90)) for host in hosts])
    return store, hosts


def test_each_call_does_a_little_and_nothing_shows_before_all_is_done(tmp_path: Path) -> None:
    store, hosts = a_day(tmp_path / "store")
    before = [store.windows(host.host, *ALL) for host in hosts]
    calls = 1
    while not store.expire(LATE, budget_s=0.0):
        if [store.windows(host.host, *ALL) for host in hosts] != before:
            break
        calls += 1
        store.commit([hosts[0].batch()])  # nothing waits for the whole
        before = [store.windows(host.host, *ALL) for host in hosts]
    while not store.expire(LATE, budget_s=0.0):
        pass
    assert calls > 4
    for host in hosts:
        windows = store.windows(host.host, *ALL)
        assert sum(w.energy_uj for w in windows) == host.sent_uj
    assert {w.duration_ns for w in store.windows(hosts[1].host, *ALL)} == {MINUTE_NS}
    store.close()


def test_what_was_left_half_done_begins_anew(tmp_path: Path) -> None:
    store, hosts = a_day(tmp_path / "store")
    for _ in range(3):
        assert not store.expire(LATE, budget_s=0.0)
    store.close()
    store = SqliteStore(config(tmp_path / "store"))
    assert store.expire(LATE)
    for host in hosts:
        windows = store.windows(host.host, *ALL)
        assert sum(w.energy_uj for w in windows) == host.sent_uj
        assert {w.duration_ns for w in windows} == {MINUTE_NS}
    assert store.damaged == 0
    store.close()
