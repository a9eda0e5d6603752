from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chipwatt.collector.placement.learning import ClassLearner
from chipwatt.collector.placement.profiles import Profiles
from chipwatt.collector.placement.topology import NodeKind, PowerNode, Topology
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.coarse import NOBODY
from fakes.telemetry_records import T0_S, a_batch, a_host
from fakes.workload_records import CLASS, a_minute, a_workload
from unit.collector.store.batches import config

MINUTE = T0_S // 60
NODES = [
    PowerNode("h1", NodeKind.HOST, host=a_host(1).hex(), hw_class="hgx-h100"),
    PowerNode("h2", NodeKind.HOST, host="by-name", hw_class="dgx-a100"),
]
NAMES = {a_host(1).hex(): a_host(1), "by-name": a_host(2)}


@contextmanager
def learning(folder: Path, store: str = "store") -> Iterator[tuple[SqliteStore, Profiles]]:
    books = SqliteStore(config(folder / store))
    profiles = Profiles(folder / "placement.sqlite")
    learner = ClassLearner(books.workloads, profiles, lambda: Topology(NODES), NAMES.get)
    try:
        yield books, profiles
        learner.tick()
        learner.tick()
    finally:
        profiles.close()
        books.close()


def say(store: SqliteStore, host: int, minutes: range, class_id: bytes = CLASS) -> None:
    for minute in minutes:
        told = [a_workload(0, MINUTE + minute), a_workload(7, MINUTE + minute, class_id=class_id)]
        batch = a_batch(a_host(host), a_minute(MINUTE + minute, *told), sequence=minute + 1)
        store.commit([batch])


def known(folder: Path) -> dict[tuple[bytes, str], int]:
    profiles = Profiles(folder / "placement.sqlite")
    found = {(p.class_id, p.hw_class): p.windows for p in profiles.all()}
    profiles.close()
    return found


def test_a_class_is_learned_on_the_hardware_that_the_topology_names(tmp_path: Path) -> None:
    with learning(tmp_path) as (store, _):
        say(store, 1, range(6))
        say(store, 2, range(5))
        say(store, 3, range(9))
    assert known(tmp_path) == {(CLASS, "hgx-h100"): 6, (CLASS, "dgx-a100"): 5, (CLASS, ""): 20}


def test_every_minute_is_learned_once_over_restarts(tmp_path: Path) -> None:
    for begin in (0, 4, 8):
        with learning(tmp_path) as (store, _):
            say(store, 1, range(begin, begin + 4))
    assert known(tmp_path) == {(CLASS, "hgx-h100"): 12, (CLASS, ""): 12}


def test_the_class_of_a_workload_is_what_its_newest_minute_says(tmp_path: Path) -> None:
    other = bytes(range(16, 32))
    with learning(tmp_path) as (store, _):
        say(store, 1, range(2))
        say(store, 2, range(4), other)
    profiles = Profiles(tmp_path / "placement.sqlite")
    assert profiles.class_of((7).to_bytes(16)) == other
    assert profiles.class_of((0).to_bytes(16)) is None  # the bucket
    profiles.close()


def test_who_has_no_class_teaches_nothing(tmp_path: Path) -> None:
    with learning(tmp_path) as (store, profiles):
        say(store, 1, range(9), NOBODY)
    assert known(tmp_path) == {}
    assert profiles.position == 9
    again = Profiles(tmp_path / "placement.sqlite")
    assert again.class_of((7).to_bytes(16)) is None
    again.close()


def test_a_store_that_began_anew_is_learned_from(tmp_path: Path) -> None:
    with learning(tmp_path) as (store, _):
        say(store, 1, range(7))
    with learning(tmp_path, "another") as (store, _):
        say(store, 1, range(5))
    assert known(tmp_path) == {(CLASS, "hgx-h100"): 12, (CLASS, ""): 12}
