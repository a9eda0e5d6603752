from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from chipwatt.collector.placement.reservation import ReservationState
from chipwatt.collector.placement.reservation_book import ReservationBook
from chipwatt.collector.placement.reservation_file import KEPT_S
from chipwatt.collector.placement.topology import Topology
from chipwatt.core.clock import NS_PER_S, VirtualClock
from chipwatt.core.errors import StoreError
from unit.collector.placement.reserved import T0_NS, committed, held, rack

DAY_NS = 86_400 * NS_PER_S


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(T0_NS)


def reserved(book: ReservationBook, topology: Topology) -> dict[str, float]:
    array = book.reserved_mw(topology)
    return {node.id: mw for node, mw in zip(topology.nodes, array.tolist(), strict=True) if mw}


def test_what_is_kept_is_as_before_in_the_next_process(tmp_path: Path, clock: VirtualClock) -> None:
    path = tmp_path / "placement.sqlite"
    book = ReservationBook(path, clock.unix_ns)
    one, two = held(1), committed(held(2, "h1", 50))
    book.keep(one, two)
    before = reserved(book, rack())
    # Not closed: what was answered has to be on the disk already.
    again = ReservationBook(path, clock.unix_ns)
    assert again.live() == [one, two]
    assert reserved(again, rack()) == before == {
        "h0": 100, "h1": 50, "rack": 150, "site": 150,
    }  # fmt: skip
    assert again.by_key("key-2") == again.by_id("id-2") == two
    assert again.by_key("key-3") is again.by_id("id-3") is None
    again.close()
    book.close()


def test_it_is_written_through_to_the_disk(tmp_path: Path, clock: VirtualClock) -> None:
    book = ReservationBook(tmp_path / "placement.sqlite", clock.unix_ns)
    connection = book._file._connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    book.close()


def test_what_is_held_expires_and_what_is_committed_does_not(
    tmp_path: Path, clock: VirtualClock
) -> None:
    path = tmp_path / "placement.sqlite"
    book = ReservationBook(path, clock.unix_ns)
    book.keep(held(1, ttl_s=60), committed(held(2, "h1", 7, ttl_s=1)))
    clock.sleep_until(60 * NS_PER_S - 1)
    assert reserved(book, rack())["rack"] == 107
    clock.sleep_until(60 * NS_PER_S)
    assert reserved(book, rack()) == {"h1": 7, "rack": 7, "site": 7}
    gone = book.by_id("id-1")
    assert gone is not None
    assert gone.state is ReservationState.EXPIRED
    assert gone.ended_unix_ns == T0_NS + 60 * NS_PER_S
    assert book.in_state(ReservationState.EXPIRED, "", 10) == [gone]
    assert book.in_state(ReservationState.EXPIRED, "h1", 10) == []
    book.close()
    again = ReservationBook(path, clock.unix_ns)
    assert again.by_id("id-1") == gone
    assert [r.id for r in again.live()] == ["id-2"]
    again.close()


def test_what_expired_while_nobody_ran_is_expired(tmp_path: Path, clock: VirtualClock) -> None:
    path = tmp_path / "placement.sqlite"
    book = ReservationBook(path, clock.unix_ns)
    book.keep(held(1))
    clock.sleep_until(3_600 * NS_PER_S)
    again = ReservationBook(path, clock.unix_ns)
    assert again.live() == []
    assert reserved(again, rack()) == {}
    again.close()
    book.close()


def test_a_clock_that_is_set_back_revives_nothing(tmp_path: Path, clock: VirtualClock) -> None:
    book = ReservationBook(tmp_path / "placement.sqlite", clock.unix_ns)
    book.keep(held(1))
    clock.sleep_until(61 * NS_PER_S)
    assert book.live() == []
    clock.step_wall(-100 * NS_PER_S)
    found = book.by_id("id-1")
    assert found is not None
    assert found.state is ReservationState.EXPIRED
    book.close()


@pytest.mark.parametrize("restarts", [False, True])
def test_a_clock_that_was_wrong_for_a_moment_holds_nothing_for_ever(
    tmp_path: Path, clock: VirtualClock, restarts: bool
) -> None:
    path = tmp_path / "placement.sqlite"
    book = ReservationBook(path, clock.unix_ns, clock.mono_ns)
    clock.step_wall(400 * DAY_NS)
    book.keep(held(1, now_ns=book.now_unix_ns()))
    clock.step_wall(-400 * DAY_NS)
    if restarts:
        book.close()
        book = ReservationBook(path, clock.unix_ns, clock.mono_ns)
    clock.sleep_until(59 * NS_PER_S)
    assert [of.id for of in book.live()] == ["id-1"]
    clock.sleep_until(61 * NS_PER_S)
    assert book.live() == []
    assert reserved(book, rack()) == {}
    book.close()


def test_two_with_one_key_cannot_both_be(tmp_path: Path, clock: VirtualClock) -> None:
    book = ReservationBook(tmp_path / "placement.sqlite", clock.unix_ns)
    book.keep(held(1))
    with pytest.raises(StoreError):
        book.keep(replace(held(2), key="key-1"))
    assert reserved(book, rack())["rack"] == 100
    book.close()


def test_another_topology_counts_anew(tmp_path: Path, clock: VirtualClock) -> None:
    book = ReservationBook(tmp_path / "placement.sqlite", clock.unix_ns)
    book.keep(held(1, "h2"), held(2, "h0"))
    assert reserved(book, rack(3)) == {"h0": 100, "h2": 100, "rack": 200, "site": 200}
    # h2 is gone: it takes what it was granted from what is left above it.
    assert reserved(book, rack(2)) == {"h0": 100, "rack": 200, "site": 200}
    book.keep(replace(held(1, "h2"), state=ReservationState.RELEASED, ended_unix_ns=T0_NS))
    assert reserved(book, rack(2)) == {"h0": 100, "rack": 100, "site": 100}
    book.close()


def test_priorities_are_of_what_runs(tmp_path: Path, clock: VirtualClock) -> None:
    book = ReservationBook(tmp_path / "placement.sqlite", clock.unix_ns)
    absorbed = replace(committed(held(7)), state=ReservationState.ABSORBED, ended_unix_ns=T0_NS)
    book.keep(absorbed, committed(held(3)), held(9), committed(held(2, "h1")))
    assert book.priorities() == {"h0": 7, "h1": 2}
    book.close()


def test_what_ended_long_ago_is_dropped(tmp_path: Path, clock: VirtualClock) -> None:
    book = ReservationBook(tmp_path / "placement.sqlite", clock.unix_ns)
    book.keep(held(1), committed(held(2)))
    book.keep(replace(held(3), state=ReservationState.RELEASED, ended_unix_ns=T0_NS))
    clock.sleep_until(60 * NS_PER_S)
    book.upkeep()
    assert book.by_id("id-1") is not None
    clock.sleep_until((KEPT_S + 61) * NS_PER_S)
    book.upkeep()
    assert book.by_id("id-1") is book.by_id("id-3") is None
    assert [r.id for r in book.live()] == ["id-2"]
    book.close()


def test_only_so_many_that_ended_are_kept(
    tmp_path: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chipwatt.collector.placement.reservation_file.KEPT_ENDED", 2)
    book = ReservationBook(tmp_path / "placement.sqlite", clock.unix_ns)
    for number in range(4):
        of = held(number)
        ended = T0_NS + number
        book.keep(replace(of, state=ReservationState.RELEASED, ended_unix_ns=ended), held(9))
    book.upkeep()
    assert [book.by_id(f"id-{n}") is not None for n in (0, 1, 2, 3, 9)] == [
        False, False, True, True, True,
    ]  # fmt: skip
    book.close()


def test_a_file_of_something_else_is_told(tmp_path: Path, clock: VirtualClock) -> None:
    path = tmp_path / "placement.sqlite"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match=r"placement\.sqlite"):
        ReservationBook(path, clock.unix_ns)


def test_a_full_disk_changes_nothing(tmp_path: Path, clock: VirtualClock) -> None:
    book = ReservationBook(tmp_path / "placement.sqlite", clock.unix_ns)
    book.keep(held(1))
    pages = book._file._connection.execute("PRAGMA page_count").fetchone()[0]
    book._file._connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StoreError, match="full"):
        book.keep(replace(held(2), body=bytes(1 << 16)))
    assert reserved(book, rack())["rack"] == 100
    assert book.by_id("id-2") is None
    book.close()


def test_the_file_is_plain_sqlite(tmp_path: Path, clock: VirtualClock) -> None:
    path = tmp_path / "placement.sqlite"
    book = ReservationBook(path, clock.unix_ns)
    book.keep(held(1))
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT node_id, power_mw FROM reservation").fetchall() == [
            ("h0", 100)
        ]
    other.close()
    book.close()
