"""Two agents of one host: every time is told once, and what nobody told is a gap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from chipwatt.collector.store.config import HOUR_NS
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.columns import MAX_POWER_MW
from chipwatt.core.model import Flag, GapReason
from chipwatt.core.records import Records
from unit.collector.store.batches import DAY0_UNIX_NS, WINDOW_NS, FakeHost, config

ALL = (0, 1 << 62)
OTHER_EPOCH = 8


def agent(spool_epoch: int = 7, later_ns: int = 0) -> FakeHost:
    """Return one agent of the same host, which begins ``later_ns`` after the first one."""
    return FakeHost(1, devices=1, spool_epoch=spool_epoch, start_unix_ns=DAY0_UNIX_NS + later_ns)


def sensed(records: Records, epoch: int = 1, flags: Flag = Flag.ROOT) -> Records:
    """Return records as sensors give them, of a counter epoch of their own."""
    windows = tuple(replace(w, flags=int(flags), epoch=epoch) for w in records.windows)
    seconds = tuple(replace(s, flags=0) for s in records.host_seconds)
    return replace(records, windows=windows, host_seconds=seconds)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_whatever_comes_first_no_time_is_told_twice(data: st.DataObject) -> None:
    agents = [agent(), agent(OTHER_EPOCH)]
    made = [[sensed(each.records(), n + 1) for _ in range(8)] for n, each in enumerate(agents)]
    order = data.draw(st.permutations([0] * 8 + [1] * 8))
    together = data.draw(st.integers(1, 4))
    at = [0, 0]
    first: dict[int, int] = {}
    with TemporaryDirectory() as folder:
        where = config(Path(folder) / "store")
        store, told = SqliteStore(where), 0
        for begin in range(0, 16, together):
            group = []
            for n in order[begin : begin + together]:
                first.setdefault(at[n], n)
                group.append(agents[n].batch(made[n][at[n]]))
                at[n] += 1
            told += sum(found["twin"] for found in store.commit(group).values())
            then = data.draw(st.sampled_from(["go on", "compact", "reopen"]))
            if then != "go on":
                store.compact(agents[0].start_unix_ns + HOUR_NS)
            if then == "reopen":
                store.close()
                store = SqliteStore(where)
        windows = store.windows(agents[0].host, *ALL)
        seconds = store.host_seconds(agents[0].host, *ALL)
        totals, gaps = store.totals(), store.gaps(agents[0].host, *ALL)
        store.close()
    expected = [made[n][at].windows[0].energy_uj for at, n in sorted(first.items())]
    assert [window.energy_uj for window in windows] == expected
    assert totals.root_energy_uj == sum(expected)
    assert len(seconds) == len({second.start_unix_ns for second in seconds}) == 80
    assert not gaps
    assert told == 8 * 11


def test_what_sticks_out_is_a_gap_of_at_most_its_energy(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    first, second = agent(), agent(OTHER_EPOCH, 4 * NS_PER_S)
    store.commit([first.batch(sensed(first.records()))])
    late = sensed(second.records())
    assert store.commit([second.batch(late)]) == {first.host: {"twin": 7}}
    assert len(store.windows(first.host, *ALL)) == 1
    (gap,) = store.gaps(first.host, *ALL)
    assert (gap.start_unix_ns, gap.duration_ns) == (DAY0_UNIX_NS + WINDOW_NS, 4 * NS_PER_S)
    assert (gap.lower_uj, gap.upper_uj) == (0, late.windows[0].energy_uj)
    assert gap.reason is GapReason.AGENT_DOWN
    assert len(store.host_seconds(first.host, *ALL)) == 14
    store.close()


def test_an_agent_that_follows_another_is_no_twin(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    first, second = agent(), agent(OTHER_EPOCH, WINDOW_NS)
    held = first.batch(sensed(first.records()))
    assert store.commit([second.batch(sensed(second.records()))]) == {}
    assert store.commit([held]) == {}
    assert len(store.windows(first.host, *ALL)) == 2
    store.close()


def test_another_boot_and_a_replay_are_no_twins(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    first, replayed = agent(), agent(OTHER_EPOCH)
    booted = replace(agent(9), boot=b"c" * 16)
    store.commit([first.batch(sensed(first.records()))])
    assert store.commit([replayed.batch(), booted.batch(sensed(booted.records()))]) == {}
    assert len(store.windows(first.host, *ALL)) == 3
    store.close()


@pytest.mark.parametrize("then", ["at once", "compacted", "reopened"])
def test_an_agent_that_lost_its_state_leaves_a_gap(tmp_path: Path, then: str) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    first, second = agent(), agent(OTHER_EPOCH, 3 * WINDOW_NS)
    store.commit([first.batch(sensed(first.records()))])
    if then != "at once":
        store.compact(first.start_unix_ns + HOUR_NS)
    if then == "reopened":
        store.close()
        store = SqliteStore(config(tmp_path / "store"))
    beginning = sensed(second.records(), 2, Flag.ROOT | Flag.EPOCH_START)
    assert store.commit([second.batch(beginning)]) == {}
    (gap,) = store.gaps(first.host, *ALL)
    assert (gap.start_unix_ns, gap.duration_ns) == (DAY0_UNIX_NS + WINDOW_NS, 2 * WINDOW_NS)
    assert (gap.lower_uj, gap.upper_uj) == (0, 2 * WINDOW_NS // NS_PER_MS * MAX_POWER_MW)
    assert gap.reason is GapReason.AGENT_DOWN
    assert len(store.windows(first.host, *ALL)) == 2
    store.commit([second.batch(sensed(second.records(), 2))])
    assert len(store.gaps(first.host, *ALL)) == 1
    store.close()


def test_a_stream_whose_beginning_went_elsewhere_leaves_none(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    first, second = agent(), agent(OTHER_EPOCH, 3 * WINDOW_NS)
    store.commit([first.batch(sensed(first.records()))])
    second.sequence = 1
    store.commit([second.batch(sensed(second.records(), 2, Flag.ROOT | Flag.EPOCH_START))])
    assert store.gaps(first.host, *ALL) == []
    store.close()
