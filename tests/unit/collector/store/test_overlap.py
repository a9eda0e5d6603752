"""Windows and their merges, in any order and any number of times: every µJ is stored once."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from chipwatt.collector.store.config import DAY_NS, HOUR_NS
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.profile import merge, merge_seconds
from chipwatt.core.records import Records
from unit.collector.store.batches import DAY0_UNIX_NS, WINDOW_NS, FakeHost, config

ALL = (0, 1 << 62)
COUNT = 12


def merged(records: list[Records]) -> Records:
    """Return adjacent records of one device as an agent's spool would merge them."""
    windows = reduce(merge, (r.windows[0] for r in records))
    seconds = reduce(merge_seconds, (s for r in records for s in r.host_seconds))
    return Records(windows=(windows,), host_seconds=(seconds,))


def any_span() -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(0, COUNT - 2), st.integers(2, COUNT)).map(
        lambda pair: (pair[0], min(COUNT, pair[0] + pair[1]))
    )


def aligned_span() -> st.SearchStrategy[tuple[int, int]]:
    """Bins of a ladder, each a whole number of the one below, as the spool has them."""
    return st.sampled_from([(n, n + w) for w in (2, 6, 12) for n in range(0, COUNT, w)])


@pytest.mark.parametrize("nested", [True, False])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_whatever_was_merged_out_of_what_no_energy_is_stored_twice(
    nested: bool, data: st.DataObject
) -> None:
    host = FakeHost(1, devices=1)
    made = [host.records() for _ in range(COUNT)]
    plain = data.draw(st.sets(st.integers(0, COUNT - 1)))
    wide = data.draw(st.lists(aligned_span() if nested else any_span(), max_size=4))
    arriving = data.draw(st.permutations([*((n, n + 1) for n in plain), *wide]))
    together = data.draw(st.integers(1, 5))
    with TemporaryDirectory() as folder:
        where = config(Path(folder) / "store")
        store = SqliteStore(where)
        for first in range(0, len(arriving), together):
            group = arriving[first : first + together]
            store.commit(
                [
                    host.batch(made[low] if high - low == 1 else merged(made[low:high]))
                    for low, high in group
                ]
            )
            then = data.draw(st.sampled_from(["go on", "compact", "reopen"]))
            if then == "compact":
                store.compact(host.start_unix_ns + HOUR_NS)
            elif then == "reopen":
                store.close()
                store = SqliteStore(where)
        windows = store.windows(host.host, *ALL)
        seconds = store.host_seconds(host.host, *ALL)
        totals = store.totals()
        store.compact(host.start_unix_ns + HOUR_NS)
        check = store.energy_check()
        store.close()
    said = {n for low, high in arriving for n in range(low, high)}
    stored_uj = sum(w.energy_uj for w in windows)
    assert stored_uj == sum(made[n].windows[0].energy_uj for n in said) == totals.root_energy_uj
    assert sum(w.duration_ns for w in windows) == len(said) * WINDOW_NS
    ends = sorted((w.start_mono_ns, w.start_mono_ns + w.duration_ns) for w in windows)
    assert all(before[1] <= after[0] for before, after in pairwise(ends))
    assert check.twice_uj == 0
    told_mj = sum(s.gpu_mj for s in seconds)
    true_mj = sum(s.gpu_mj for n in said for s in made[n].host_seconds)
    assert told_mj == true_mj if nested else told_mj <= true_mj


def test_the_rest_of_a_merged_window_says_only_what_is_known(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    host = FakeHost(1, devices=1)
    made = [host.records() for _ in range(3)]
    store.commit([host.batch(made[1])])
    changed = store.commit([host.batch(merged(made))])
    assert changed == {host.host: {"trimmed": 2}}
    first, middle, last = store.windows(host.host, *ALL)
    assert middle == made[1].windows[0]
    for rest, whole in ((first, made[0].windows[0]), (last, made[2].windows[0])):
        assert rest.energy_uj == whole.energy_uj
        assert rest.cumulative_uj == whole.cumulative_uj
        assert rest.start_unix_ns == whole.start_unix_ns
        assert rest.profile.mean_mw == round(rest.energy_uj / 10_000)
        assert rest.profile.max_mw is None
        assert rest.profile.histogram.counts_ms == ()
    assert store.commit([host.batch(merged(made[:2]))]) == {host.host: {"covered": 2}}
    assert len(store.windows(host.host, *ALL)) == 3
    store.close()


def test_another_boot_and_another_epoch_are_other_energy(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    first, second = FakeHost(1, devices=1), FakeHost(1, devices=1, start_unix_ns=DAY0_UNIX_NS)
    second.spool_epoch = 8
    one = merged([first.records() for _ in range(3)])
    store.commit([first.batch(one)])
    again = merged([second.records() for _ in range(3)])
    later = Records(
        windows=tuple(replace(w, start_unix_ns=w.start_unix_ns + DAY_NS) for w in again.windows),
        host_seconds=tuple(
            replace(s, start_unix_ns=s.start_unix_ns + DAY_NS) for s in again.host_seconds
        ),
    )
    assert store.commit([second.batch(later)]) == {}  # same counter, same clock, a day later
    assert len(store.windows(first.host, *ALL)) == 2
    store.close()
