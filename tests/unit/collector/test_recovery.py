from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.latest import Latest
from chipwatt.collector.recovery import recover
from chipwatt.collector.rings import RING_S
from chipwatt.collector.store.config import StoreConfig
from chipwatt.collector.store.contract import HostRow
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.model import Domain
from chipwatt.core.records import Records
from fakes.telemetry_records import CPU, GPU, T0_S, a_batch, a_gap, a_host, a_window, steady

H1, H2, H3 = a_host(1), a_host(2), a_host(3)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    one = SqliteStore(StoreConfig(path=tmp_path / "store"))
    yield one
    one.close()


def records(start_s: int, level_mw: int) -> Records:
    return Records(
        windows=(
            a_window(start_s, level_mw),
            a_window(start_s, 6, device=CPU, domain=Domain.PACKAGE),
            a_window(start_s, 3, device=CPU, domain=Domain.CORE),
        ),
        host_seconds=steady(
            start_s, [(level_mw + s % 7, level_mw + 1_000 + s) for s in range(10)]
        ).host_seconds,
        gaps=(a_gap(start_s, 5),) if start_s % 50 == 0 else (),
    )


def live(store: SqliteStore, latest: Latest, host: bytes, starts_s: range) -> None:
    """Send ten seconds at a time, as an agent does, and commit each."""
    for start_s in starts_s:
        heard_s = start_s + 12
        store.note_host(HostRow(host, f"n{host[-1]}", 0, heard_s * NS_PER_S, 1, 0))
        batch = a_batch(host, records(start_s, 1_000 * host[-1] + start_s % 777),
                        sequence=start_s, received_s=heard_s)  # fmt: skip
        store.commit([batch])
        latest.on_commit([batch])


def check_same(before: Latest, after: Latest, hosts: list[bytes], now_s: int) -> None:
    for host in hosts:
        assert after.windows(host) == before.windows(host)
        assert after.host_second(host) == before.host_second(host)
        assert after.heard_unix_ns(host) == before.heard_unix_ns(host)
    assert sorted(after.hosts()) == sorted(before.hosts())
    old, new = (one.states(list(hosts), now_s * NS_PER_S) for one in (before, after))
    assert new.newest_s.tolist() == old.newest_s.tolist()
    seconds = np.arange(now_s - RING_S + 1, now_s + 1)
    one, two = before.seconds(old.rows, seconds), after.seconds(new.rows, seconds)
    assert (one.known == two.known).all()
    assert (np.where(one.known, one.mean_mw, 0) == np.where(two.known, two.mean_mw, 0)).all()
    assert (np.where(one.known, one.peak_mw, 0) == np.where(two.known, two.peak_mw, 0)).all()


@pytest.mark.parametrize("compacted", [False, True])
def test_a_restart_knows_what_was_known_before(store: SqliteStore, compacted: bool) -> None:
    before, end_s = Latest(), T0_S + RING_S + 200
    # One host is live, one fell silent five minutes ago, one half a day ago.
    live(store, before, H3, range(T0_S - 43_200, T0_S - 42_900, 10))
    if compacted:
        store.expire((T0_S + 900) * NS_PER_S)
    live(store, before, H2, range(T0_S, end_s - 300, 10))
    live(store, before, H1, range(T0_S, end_s, 10))
    before.learn(store.hosts())
    if compacted:
        store.expire((end_s + 120) * NS_PER_S)
    after = Latest()
    recover(after, store)
    check_same(before, after, [H1, H2, H3], end_s)


def test_a_restart_amid_new_data_keeps_the_newest(store: SqliteStore) -> None:
    before, after = Latest(), Latest()
    live(store, before, H1, range(T0_S, T0_S + 60, 10))
    newer = a_batch(H1, records(T0_S + 60, 5), sequence=1, received_s=T0_S + 72)
    for latest in (before, after):
        latest.on_commit([newer])
    before.learn(store.hosts())
    recover(after, store)
    check_same(before, after, [H1], T0_S + 70)


def test_an_empty_store_and_one_nobody_waits_for(store: SqliteStore) -> None:
    latest = Latest()
    recover(latest, store)
    assert latest.hosts() == []
    live(store, Latest(), H1, range(T0_S, T0_S + 60, 10))
    recover(latest, store, lambda: False)
    assert latest.hosts() == [(H1, "n1")]
    assert not latest.is_filled(H1)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.integers(0, 90)), min_size=1, max_size=25))
def test_whatever_order_things_came_in(
    tmp_path_factory: pytest.TempPathFactory, sent: list[tuple[int, int]]
) -> None:
    store = SqliteStore(StoreConfig(path=tmp_path_factory.mktemp("s") / "store"))
    before, after = Latest(), Latest()
    for number, (who, slot) in enumerate(dict.fromkeys(sent)):
        batch = a_batch(a_host(who), records(T0_S + 10 * slot, number), sequence=number,
                        received_s=T0_S + 10 * slot + 12)  # fmt: skip
        store.commit([batch])
        before.on_commit([batch])
    before.learn(store.hosts())
    recover(after, store)
    store.close()
    # What an unsound order may cost is history, marked as such; never the newest state.
    for host, _ in before.hosts():
        assert after.windows(host) == before.windows(host)
        assert after.host_second(host) == before.host_second(host)
    assert GPU in {window.device for host, _ in after.hosts() for window in after.windows(host)}
