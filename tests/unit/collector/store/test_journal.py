"""Following commits: every row once and in order, whatever compaction and retention do."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
from hypothesis import given, settings

from chipwatt.collector.store.config import DAY_NS, HOUR_NS, MINUTE_NS
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.columns import SectionKind
from unit.collector.store.batches import DAY0_UNIX_NS, FakeHost, config

STEPS = st.lists(
    st.sampled_from(["commit", "commit", "commit", "follow", "compact", "expire", "reopen"]),
    min_size=5,
    max_size=40,
)


class Reader:
    """A follower with a name and what it saw: the windows' cumulative energies."""

    def __init__(self, store: SqliteStore, host: FakeHost) -> None:
        self.store = store
        self.host = host
        self.seen: list[int] = []
        store.advance("reader", 0)

    def follow(self, limit: int) -> bool:
        store = self.store
        blocks = store.follow(store.cursor("reader"), limit=limit)
        for block in blocks:
            assert {store.host_dictionary()[n] for n in block.hosts.tolist()} == {self.host.host}
            names = {store.device_dictionary()[n] for n in block.devices.tolist()}
            if block.kind is SectionKind.DEVICE_WINDOW:
                self.seen.extend(block.table["cumulative_uj"].tolist())
                assert names == {(self.host.host, device) for device in self.host.ids}
            else:
                assert not names
        positions = [block.position for block in blocks]
        assert positions == sorted(set(positions))
        if blocks:
            store.advance("reader", positions[-1])
        return bool(blocks)


@settings(max_examples=30, deadline=None)
@given(STEPS, st.integers(1, 4))
def test_a_named_reader_sees_every_row_once(steps: list[str], limit: int) -> None:
    host = FakeHost(1)
    sent: list[int] = []
    with TemporaryDirectory() as folder:
        # Nothing is kept for readers without a name, so only the cursor can hold it.
        settings_ = config(Path(folder) / "store", follow_least=0, follow_most=50 * DAY_NS)
        reader = Reader(SqliteStore(settings_), host)
        for step in (*steps, "reopen"):
            if step == "commit":
                batch = host.batch()
                sent += batch.tables[SectionKind.DEVICE_WINDOW]["cumulative_uj"].tolist()
                reader.store.commit([batch])
            elif step == "follow":
                reader.follow(limit)
            elif step == "compact":
                reader.store.compact(host.start_unix_ns + HOUR_NS)
            elif step == "expire":
                reader.store.expire(DAY0_UNIX_NS + 5 * DAY_NS)
            else:
                reader.store.close()
                reader.store = SqliteStore(settings_)
        while reader.follow(limit):
            pass
        reader.store.close()
    assert reader.seen == sent


def test_what_nobody_waits_for_is_trimmed(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    host = FakeHost(1)
    assert store.cursor("otlp") == 0
    for _ in range(6):
        store.commit([host.batch()])
    newest = store.follow(0)[-1].position
    assert newest == 12
    soon, later = host.start_unix_ns + 2 * MINUTE_NS, host.start_unix_ns + HOUR_NS
    store.compact(soon)
    assert len(store.follow(0)) == 12  # readers without a name have a quarter of an hour
    store.advance("otlp", 4)
    store.advance("otlp", 3)
    assert store.cursor("otlp") == 4
    store.compact(later)
    assert [block.position for block in store.follow(0)] == list(range(5, 13))
    store.compact(host.start_unix_ns + 2 * DAY_NS)
    assert store.follow(0) == []  # a reader that is gone for good does not fill the disk
    assert len(store.windows(host.host, 0, 1 << 62)) == 12
    store.commit([host.batch()])
    assert [block.position for block in store.follow(0)] == [13, 14]
    store.close()
