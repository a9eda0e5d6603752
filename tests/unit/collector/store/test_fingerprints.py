"""A contradiction is recognised long after; what is kept for it is bounded in time and size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chipwatt.collector.store import fingerprints
from chipwatt.collector.store.config import DAY_NS
from chipwatt.collector.store.contract import BatchKey
from chipwatt.collector.store.fingerprints import KEPT_DAYS, fingerprint_of
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.collector.store.stream_book import RECENT_DIGESTS
from unit.collector.store.batches import DAY0_UNIX_NS, FakeHost, config


def filled(path: Path, sequences: range, day: int = 0) -> SqliteStore:
    """Return a store with an empty batch of each sequence."""
    store = SqliteStore(config(path))
    store.commit([one(sequence, day) for sequence in sequences])
    return store


def one(sequence: int, day: int = 0):  # type: ignore[no-untyped-def]
    batch = FakeHost(1).batch()
    key = BatchKey(batch.key.host, batch.key.boot, 7, sequence)
    return replace(
        batch,
        key=key,
        digest=digest_of(sequence),
        received_unix_ns=DAY0_UNIX_NS + day * DAY_NS,
        tables={},
    )


def digest_of(sequence: int) -> bytes:
    return sequence.to_bytes(16, "little")


def test_every_digest_is_known_before_and_after_folding_and_reopening(tmp_path: Path) -> None:
    many = range(1, 5 * RECENT_DIGESTS + 300)
    store = filled(tmp_path / "store", many)
    for state in ("receipts", "folded", "reopened"):
        if state == "folded":
            store.compact(DAY0_UNIX_NS + DAY_NS)
        elif state == "reopened":
            store.close()
            store = SqliteStore(config(tmp_path / "store"))
        for sequence in (1, 2, 255, 256, 257, many[-1]):
            found = store.fingerprint(one(sequence).key)
            assert found == fingerprint_of(digest_of(sequence)), (state, sequence)
        assert store.fingerprint(one(many[-1] + 1).key) is None
        assert store.fingerprint(replace(one(1).key, spool_epoch=8)) is None
    store.close()


def test_they_are_kept_for_30_days_after_the_last_batch_of_a_chunk(tmp_path: Path) -> None:
    store = filled(tmp_path / "store", range(1, 10))
    store.expire(DAY0_UNIX_NS + KEPT_DAYS * DAY_NS)
    assert store.fingerprint(one(3).key) == fingerprint_of(digest_of(3))
    assert store.expire(DAY0_UNIX_NS + (KEPT_DAYS + 1) * DAY_NS)
    assert store.fingerprint(one(3).key) is None
    assert store.streams()[0].seen == ((1, 9),)  # the keys are known for ever
    store.close()


def test_one_stream_keeps_its_newest_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "MAX_CHUNKS", 3)
    store = filled(tmp_path / "store", range(1, 6 * fingerprints.CHUNK))
    store.compact(DAY0_UNIX_NS + DAY_NS)
    with store._catalogue.reading() as connection:
        chunks = [row[0] for row in connection.execute("SELECT chunk FROM fingerprint")]
    assert sorted(chunks) == [3, 4, 5]
    store.close()


def test_forgetting_is_done_in_portions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "FORGET_AT_ONCE", 2)
    store = filled(tmp_path / "store", range(1, 3 * fingerprints.CHUNK))
    late = DAY0_UNIX_NS + 40 * DAY_NS
    assert [store.expire(late) for _ in range(2)] == [False, True]
    store.close()
