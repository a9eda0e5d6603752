"""Where each sensor's rows end: known after any restart, whatever order they came in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chipwatt.collector.store import lines
from chipwatt.collector.store.config import HOUR_NS
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.model import Flag
from chipwatt.core.records import Records
from unit.collector.store.batches import DAY0_UNIX_NS, WINDOW_NS, FakeHost, config


def ends(store: SqliteStore, host: FakeHost) -> dict[object, int]:
    return {line.device: line.end_unix_ns for line in store.lines(host.host)}


def test_the_newest_end_of_each_line_survives_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "SAVE_EVERY", 1)
    store = SqliteStore(config(tmp_path / "store"))
    host, other = FakeHost(1), FakeHost(2)
    made = [host.records() for _ in range(6)]
    lost = [replace(r, windows=r.windows[:1]) for r in made[3:]]  # the second device is gone
    for records in (made[2], made[0], made[1], lost[1], lost[0], lost[2]):
        store.commit([host.batch(records), other.batch()])
    store.compact(host.start_unix_ns + HOUR_NS)
    expected = {
        host.ids[0]: DAY0_UNIX_NS + 6 * WINDOW_NS,
        host.ids[1]: DAY0_UNIX_NS + 3 * WINDOW_NS,
    }
    assert ends(store, host) == expected
    store.close()
    store = SqliteStore(config(tmp_path / "store"))
    assert ends(store, host) == expected
    assert len(ends(store, other)) == 2
    assert store.lines(b"?" * 16) == []
    store.close()


def test_a_gap_ends_a_line_too_and_a_made_up_time_does_not(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    host = FakeHost(1, devices=1)
    records = host.records(gap=True)
    start_ns = records.windows[0].start_unix_ns
    gap = replace(records.gaps[0], start_unix_ns=start_ns + WINDOW_NS, duration_ns=5 * WINDOW_NS)
    later = host.records().windows[0]
    untrue = replace(later, flags=later.flags | Flag.CLOCK_AHEAD, start_unix_ns=start_ns + HOUR_NS)
    store.commit(
        [host.batch(replace(records, gaps=(gap,))), host.batch(Records(windows=(untrue,)))]
    )
    store.compact(host.start_unix_ns + 2 * HOUR_NS)
    assert ends(store, host) == {host.ids[0]: start_ns + 6 * WINDOW_NS}
    store.close()
