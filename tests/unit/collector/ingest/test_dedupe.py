"""Dedupe against a dictionary, in memory and through a store that is closed and opened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
from hypothesis import given, settings

from chipwatt.collector.ingest.dedupe import MAX_FRAGMENTS, Dedupe, Verdict
from chipwatt.collector.store.contract import BatchKey
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.collector.store.stream_book import RECENT_DIGESTS
from unit.collector.store.batches import FakeHost, config

STREAMS = [(host, boot, epoch) for host in (b"a" * 16, b"b" * 16) for boot, epoch in
           ((b"1" * 16, 0), (b"1" * 16, (1 << 64) - 1), (b"2" * 16, 0))]  # fmt: skip
ARRIVALS = st.lists(
    st.tuples(
        st.sampled_from(STREAMS), st.integers(1, 12), st.sampled_from([b"x" * 16, b"y" * 16])
    ),
    max_size=40,
)


@settings(deadline=None)
@given(ARRIVALS)
def test_verdicts(arrivals: list[tuple[tuple[bytes, bytes, int], int, bytes]]) -> None:
    dedupe, model = Dedupe(), dict[BatchKey, bytes]()
    for stream, sequence, digest in arrivals:
        key = BatchKey(*stream, sequence)
        verdict = dedupe.judge(key, digest)
        if key not in model:
            assert verdict is Verdict.NEW
            model[key] = digest
            dedupe.add(key, digest)
        else:
            same = model[key] == digest
            assert verdict is (Verdict.DUPLICATE if same else Verdict.CONFLICT)


@settings(max_examples=25, deadline=None)
@given(ARRIVALS, st.integers(0, 40), st.booleans())
def test_what_the_store_remembers_judges_the_same(
    arrivals: list[tuple[tuple[bytes, bytes, int], int, bytes]], cut: int, compacted: bool
) -> None:
    dedupe = Dedupe()
    batch = FakeHost(1).batch()
    with TemporaryDirectory() as folder:
        store = SqliteStore(config(Path(folder) / "store"))
        for position, (stream, sequence, digest) in enumerate(arrivals):
            key = BatchKey(*stream, sequence)
            if position == cut:
                if compacted:
                    store.compact(batch.received_unix_ns, settle_ns=0)
                store.close()
                store = SqliteStore(config(Path(folder) / "store"))
                dedupe = Dedupe(store.streams())
            if dedupe.judge(key, digest) is Verdict.NEW:
                store.commit([replace(batch, key=key, digest=digest)])
                dedupe.add(key, digest)
        restored = Dedupe(store.streams())
        for stream in STREAMS:
            for sequence in range(14):
                for digest in (b"x" * 16, b"y" * 16):
                    key = BatchKey(*stream, sequence)
                    assert restored.judge(key, digest) is dedupe.judge(key, digest)
        store.close()


def test_old_digests_are_looked_up_but_never_the_sequences() -> None:
    dedupe = Dedupe()
    for sequence in range(1, RECENT_DIGESTS + 2):
        dedupe.add(BatchKey(b"h", b"b", 1, sequence), b"x" * 16)
    assert dedupe.judge(BatchKey(b"h", b"b", 1, 1), b"y" * 16) is Verdict.KNOWN
    assert dedupe.judge(BatchKey(b"h", b"b", 1, 2), b"y" * 16) is Verdict.CONFLICT


def test_a_stream_of_holes_is_bounded() -> None:
    dedupe = Dedupe()
    for n in range(MAX_FRAGMENTS):
        dedupe.add(BatchKey(b"h", b"b", 1, 2 * n + 1), b"x" * 16)
    beyond = 2 * MAX_FRAGMENTS + 1
    assert dedupe.judge(BatchKey(b"h", b"b", 1, beyond), b"x" * 16) is Verdict.FRAGMENT
    assert dedupe.judge(BatchKey(b"h", b"b", 1, 2), b"x" * 16) is Verdict.NEW
    assert dedupe.judge(BatchKey(b"h", b"b", 2, beyond), b"x" * 16) is Verdict.NEW
    assert dedupe.missing() == {b"h": MAX_FRAGMENTS - 1}
