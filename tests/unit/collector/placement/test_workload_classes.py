from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.placement import workload_classes
from chipwatt.collector.placement.profiles import Profiles
from chipwatt.collector.placement.workload_classes import SCHEMA, Seen, class_of, save
from chipwatt.collector.store.sqlite_file import connect
from unit.collector.placement.test_profiles import CLASS, window_of

OTHER = bytes(range(16, 32))


def workload(number: int) -> bytes:
    return number.to_bytes(16)


sightings = st.lists(
    st.tuples(
        st.integers(1, 4).map(workload),
        st.integers(1, 3).map(lambda n: bytes([n] * 16)),
        st.integers(0, 9),
    ),
    max_size=20,
)


@given(sightings, st.integers(0, 20))
def test_the_newest_minute_says_the_class_in_whatever_order_minutes_come(
    seen: list[Seen], cut: int
) -> None:
    newest: dict[bytes, tuple[int, bytes]] = {}
    for who, of, at in seen:
        if at >= newest.get(who, (0, b""))[0]:
            newest[who] = (at, of)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA)
        for part in (seen[:cut], seen[cut:]):
            save(connection, part)
        for who in map(workload, range(1, 5)):
            assert class_of(connection, who) == newest.get(who, (0, None))[1]


def test_so_many_are_kept_and_one_that_runs_on_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workload_classes, "MAX_WORKLOADS", 3)
    with closing(connect(tmp_path / "some.sqlite", create=True, write=True)) as connection:
        connection.executescript(SCHEMA)
        save(connection, [(workload(n), CLASS, n) for n in range(1, 6)])
        assert [n for n in range(1, 6) if class_of(connection, workload(n))] == [3, 4, 5]
        save(connection, [(workload(n), CLASS, 9) for n in (3, 4, 5)])
        assert class_of(connection, workload(3)) == CLASS
        save(connection, [(workload(1), CLASS, 10)])
        assert [n for n in range(1, 6) if class_of(connection, workload(n))] == [1, 4, 5]


def test_it_is_known_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "placement.sqlite"
    with closing(Profiles(path)) as profiles:
        profiles.learn([window_of([0.5], 7, workload_id=workload(1))])
        profiles.learn([window_of([0.5], 3, workload_id=workload(1), class_id=OTHER)])
        profiles.learn([window_of([0.5], 7)])
    with closing(Profiles(path)) as profiles:
        assert profiles.class_of(workload(1)) == CLASS
        assert profiles.class_of(workload(2)) is None
        assert profiles.class_of(bytes(16)) is None
