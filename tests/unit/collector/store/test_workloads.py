from __future__ import annotations

from pathlib import Path

from chipwatt.collector.store.config import MINUTE_NS
from chipwatt.collector.store.sqlite_store import SqliteStore
from fakes.telemetry_records import T0_S, a_batch, a_host
from fakes.workload_records import a_minute, a_workload
from unit.collector.store.batches import config

MINUTE = T0_S // 60
HOST = a_host(1)


def test_minutes_come_back_in_the_order_in_which_they_were_stored(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    assert store.workloads.newest() == 0
    for late in (3, 1, 2):
        told = [a_workload(n, MINUTE + late) for n in (0, 7, 9)]
        store.commit([a_batch(HOST, a_minute(MINUTE + late, *told), sequence=late)])
    followed = store.workloads.follow(0)
    assert [m.windows[0].start_unix_ns // MINUTE_NS - MINUTE for m in followed] == [3, 1, 2]
    assert followed[0].windows == tuple(a_workload(n, MINUTE + 3) for n in (0, 7, 9))
    assert {m.host for m in followed} == {HOST}
    assert store.workloads.newest() == followed[-1].position
    assert store.workloads.follow(followed[0].position, limit=1) == followed[1:2]
    span = ((MINUTE + 1) * MINUTE_NS, (MINUTE + 3) * MINUTE_NS)
    assert [m.windows[0].start_unix_ns for m in store.workloads.minutes(HOST, *span)] == [
        span[0],
        span[0] + MINUTE_NS,
    ]
    assert store.workloads.minutes(a_host(2), *span) == []
    store.close()


def test_the_first_that_is_said_of_a_minute_stays(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    for sequence, steps in ((1, 5), (2, 6)):
        told = a_workload(7, MINUTE, steps=steps)
        store.commit([a_batch(HOST, a_minute(MINUTE, told), sequence=sequence)])
    (minute,) = store.workloads.follow(0)
    assert minute.windows[0].energy_steps == 5
    store.close()


def test_a_merged_payload_holds_several_minutes(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    both = [a_minute(MINUTE + n, a_workload(7, MINUTE + n)) for n in range(2)]
    records = type(both[0])(workloads=both[0].workloads + both[1].workloads)
    store.commit([a_batch(HOST, records)])
    assert len(store.workloads.follow(0)) == 2
    store.close()


def test_minutes_outlive_a_restart_and_not_their_retention(tmp_path: Path) -> None:
    settings = config(tmp_path / "store")
    store = SqliteStore(settings)
    store.commit([a_batch(HOST, a_minute(MINUTE, a_workload(7, MINUTE)))])
    store.close()
    store = SqliteStore(settings)
    (minute,) = store.workloads.follow(0)
    start_ns = MINUTE * MINUTE_NS
    store.workloads.forget(start_ns)
    assert store.workloads.follow(0) == [minute]
    store.expire(start_ns + settings.retention_1min + MINUTE_NS)
    assert store.workloads.follow(0) == []
    assert store.workloads.newest() == minute.position
    store.close()
