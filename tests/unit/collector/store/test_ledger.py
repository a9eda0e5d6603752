"""The books against the counters: holes and doubles to the µJ, in any order of arrival."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
from hypothesis import given, settings

from chipwatt.collector.store.config import HOUR_NS
from chipwatt.collector.store.ledger import EnergyCheck
from chipwatt.collector.store.sqlite_store import SqliteStore
from unit.collector.store.batches import FakeHost, config


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_what_is_missing_or_double_is_known(data: st.DataObject) -> None:
    host = FakeHost(1, devices=1)
    made = [host.records() for _ in range(12)]
    inner = data.draw(st.sets(st.integers(1, 10)))
    double = data.draw(st.sets(st.integers(0, 11))) - inner
    arriving = [n for n in range(12) if n not in inner] + sorted(double)
    arriving = data.draw(st.permutations(arriving))
    cut = data.draw(st.integers(0, len(arriving)))
    with TemporaryDirectory() as folder:
        settings_ = config(Path(folder) / "store")
        store = SqliteStore(settings_)
        for position, n in enumerate(arriving):
            if position == cut:
                store.compact(host.start_unix_ns + HOUR_NS)
                store.close()
                store = SqliteStore(settings_)
            store.commit([host.batch(made[n])])
        store.compact(host.start_unix_ns + HOUR_NS)
        found = store.energy_check()
        store.close()
    holes = sum(n - 1 not in inner for n in inner)
    assert found == EnergyCheck(
        epochs=1,
        holes=holes,
        hole_uj=sum(made[n].windows[0].energy_uj for n in inner),
        twice_uj=sum(made[n].windows[0].energy_uj for n in double),
    )


def test_epochs_are_books_of_their_own(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    host = FakeHost(1, devices=1)
    first, second = host.records(), host.records()
    reset = replace(second.windows[0], epoch=2, cumulative_uj=second.windows[0].energy_uj)
    still = replace(reset, energy_uj=0)
    store.commit([host.batch(first), host.batch(replace(second, windows=(reset, still)))])
    store.compact(host.start_unix_ns + HOUR_NS)
    assert store.energy_check() == EnergyCheck(2, 0, 0, 0)
    store.close()
