"""A clock that jumps deletes no history."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.latest import Latest
from chipwatt.collector.store.config import DAY_NS, HOUR_NS, MINUTE_NS
from chipwatt.collector.store.pace import CATCH_UP, Pace
from chipwatt.collector.store.sqlite_store import SqliteStore
from unit.collector.store.batches import DAY0_UNIX_NS, FakeHost, config

ALL = (0, 1 << 62)
YEAR_NS = 365 * DAY_NS


class Mono:
    """A monotonic clock that is told how much time went by."""

    def __init__(self) -> None:
        self.ns = 5

    def __call__(self) -> int:
        return self.ns


def meta() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
    return connection


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2 * DAY_NS),
            st.integers(0, 50 * YEAR_NS),
            st.none() | st.integers(0, 50 * YEAR_NS),
        ),
        max_size=30,
    )
)
def test_retention_never_outruns_time_nor_the_clock_and_never_goes_back(
    steps: list[tuple[int, int, int | None]],
) -> None:
    mono = Mono()
    pace, before = Pace(meta(), mono), 0
    for elapsed_ns, clock_ns, sent_ns in steps:
        mono.ns += elapsed_ns
        now = pace.now(clock_ns, sent_ns)
        assert now >= before
        if before:
            assert now - before <= CATCH_UP * elapsed_ns
            assert now == before or now <= clock_ns
            assert (
                now == min(clock_ns, before + elapsed_ns)
                or now >= before + elapsed_ns
                or (clock_ns < before)
            )
        else:
            assert now == min(clock_ns, sent_ns or 0)
        before = now


def test_it_is_kept_over_a_restart_and_catches_up_after_a_long_one() -> None:
    connection, mono = meta(), Mono()
    pace = Pace(connection, mono)
    assert pace.now(DAY0_UNIX_NS, DAY0_UNIX_NS - MINUTE_NS) == DAY0_UNIX_NS - MINUTE_NS
    pace.save(connection)
    pace, now = Pace(connection, mono), DAY0_UNIX_NS + 10 * DAY_NS
    hours = 0
    while pace.now(now, now - MINUTE_NS) < now - MINUTE_NS:
        mono.ns, now, hours = mono.ns + HOUR_NS, now + HOUR_NS, hours + 1
    assert hours == 11


def fill(path: Path, mono: Mono) -> tuple[SqliteStore, FakeHost]:
    store, host = SqliteStore(config(path), mono), FakeHost(1)
    for _ in range(5):
        store.commit([host.batch(windows=30)])
    return store, host


def test_a_collector_whose_clock_jumps_ten_years_keeps_its_history(tmp_path: Path) -> None:
    mono = Mono()
    store, host = fill(tmp_path / "store", mono)
    store.expire(host.start_unix_ns + MINUTE_NS)
    before = store.windows(host.host, *ALL)
    for _ in range(60):  # an hour of it
        mono.ns += MINUTE_NS
        assert store.expire(host.start_unix_ns + 10 * YEAR_NS)
    assert store.windows(host.host, *ALL) == before
    store.close()
    store = SqliteStore(config(tmp_path / "store"), mono)  # nor does it as it starts again
    store.expire(host.start_unix_ns + 10 * YEAR_NS)
    assert store.windows(host.host, *ALL) == before
    store.close()


def test_a_collector_that_starts_with_a_clock_ten_years_ahead_keeps_its_history(
    tmp_path: Path,
) -> None:
    mono = Mono()
    store, host = fill(tmp_path / "store", mono)
    store.compact(host.start_unix_ns + HOUR_NS)
    before = store.windows(host.host, *ALL)
    store.close()  # that never expired anything
    store = SqliteStore(config(tmp_path / "store"), mono)
    store.expire(host.start_unix_ns + 10 * YEAR_NS)
    assert store.windows(host.host, *ALL) == before
    store.close()


def test_with_clocks_that_agree_retention_is_in_time(tmp_path: Path) -> None:
    mono = Mono()
    store, host = fill(tmp_path / "store", mono)
    store.expire(host.start_unix_ns + MINUTE_NS)
    for _ in range(4):
        host.start_unix_ns += DAY_NS
        mono.ns += DAY_NS
        store.commit([host.batch()])
        store.expire(host.start_unix_ns + MINUTE_NS)
    windows = store.windows(host.host, *ALL)
    assert {w.duration_ns for w in windows[:20]} == {MINUTE_NS}
    assert sum(w.energy_uj for w in windows) == host.sent_uj
    store.close()


def test_a_host_is_not_heard_in_the_future_for_ever(tmp_path: Path) -> None:
    store, host, latest = SqliteStore(config(tmp_path / "store")), FakeHost(1), Latest()
    first, second = host.batch(), host.batch()
    ahead = replace(first, received_unix_ns=first.received_unix_ns + 10 * YEAR_NS)
    for batch in (ahead, second):
        store.commit([batch])
        latest.on_commit([batch])
        latest.learn(store.hosts())
    assert store.hosts()[0].last_seen_unix_ns == second.received_unix_ns
    assert latest.heard_unix_ns(host.host) == second.received_unix_ns
    store.close()


def test_what_was_received_before_the_clock_was_set_back_is_compacted(tmp_path: Path) -> None:
    path, host = tmp_path / "store", FakeHost(1)
    store = SqliteStore(config(path), Mono())
    batches = [host.batch(windows=6) for _ in range(3)]
    ahead_ns = host.start_unix_ns + 10 * YEAR_NS
    for batch in (batches[0], replace(batches[1], received_unix_ns=ahead_ns), batches[2]):
        store.commit([batch])
    store.compact(host.start_unix_ns + HOUR_NS)
    assert sum(w.energy_uj for w in store.windows(host.host, *ALL)) == host.sent_uj
    store.close()
    with closing(sqlite3.connect(path / "catalogue.sqlite")) as connection:
        (moved,) = connection.execute("SELECT value FROM meta WHERE name = 'moved'").fetchone()
    assert int(moved) == 6
