"""The fuzzer's target: bytes as a request on a stream, through real ingest into a real store."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import zstandard
from google.protobuf.message import DecodeError

from chipwatt.collector.ingest.examine import examine
from chipwatt.collector.ingest.unpack import BatchRefused, unpack
from chipwatt.collector.store.config import StoreConfig
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.codec import encode_records, records_from_tables
from chipwatt.core.wire import MAX_PAYLOAD_BYTES
from chipwatt.v1 import telemetry_pb2 as pb
from fakes.telemetry_records import T0_S
from unit.collector.store.batches import FakeHost

HOST = b"h" * 16
RECEIVED_NS = T0_S * 1_000_000_000
_REQUEST, _PAYLOAD, _PACKED = range(3)
_STATS_EVERY_S = 0.5
_COMMIT_EVERY = 16
"""Of the batches that are good: fsync would be all that the fuzzer does."""
_FRESH_EVERY = 2000
"""Commits into one store: an input must not take longer because of those before it."""


class Target:
    """Called with each input; whatever it raises is a finding."""

    def __init__(self, stats: Path | None = None) -> None:
        self.executions = 0
        self.accepted = 0
        self.stored = 0
        self.rejected: Counter[str] = Counter()
        self._stats = stats
        self._told_s = 0.0
        self._folder = Path(tempfile.mkdtemp(prefix="chipwatt-fuzz-"))
        self._store = SqliteStore(StoreConfig(path=self._folder / "store"))
        self._sequence = 0

    def __call__(self, data: bytes) -> None:
        self.executions += 1
        try:
            self._take(data)
        finally:
            self._tell()

    def _take(self, data: bytes) -> None:
        batch = self._batch(data)
        if batch is None:
            return
        try:
            incoming = unpack(HOST, batch, RECEIVED_NS)
        except BatchRefused as refused:
            self.rejected[refused.counted or "no reason"] += 1
            return
        self.accepted += 1
        # What was let in survives the way to rows and back, unchanged.
        records = records_from_tables(incoming.tables)
        encode_records(records)
        fitting, _ = examine(incoming)
        if self.accepted % _COMMIT_EVERY == 0:
            self._store.commit([fitting])
            self.stored += 1
            if self.stored % _FRESH_EVERY == 0:
                self._begin_anew()

    def _batch(self, data: bytes) -> pb.Batch | None:
        """Read an input: its first byte says how much of it is right by construction."""
        mode, rest = (data[0] % 3, data[1:]) if data else (_REQUEST, b"")
        if mode == _REQUEST:
            try:
                request = pb.StreamRequest.FromString(rest)
            except DecodeError:
                self.rejected["no request"] += 1
                return None
            if request.WhichOneof("message") != "batch":
                self.rejected["no batch"] += 1
                return None
            return request.batch
        self._sequence += 1
        encoding, payload = pb.ENCODING_PLAIN, rest
        if mode == _PACKED:
            encoding, payload = pb.ENCODING_ZSTD, zstandard.compress(rest, 1)
        digest = hashlib.blake2b(rest, digest_size=16).digest()
        return pb.Batch(
            boot_id=bytes(16), spool_epoch=1, sequence=self._sequence, digest=digest,
            encoding=encoding, payload=payload,
        )  # fmt: skip

    def _begin_anew(self) -> None:
        self._store.close()
        shutil.rmtree(self._folder / "store")
        self._store = SqliteStore(StoreConfig(path=self._folder / "store"))

    def _tell(self) -> None:
        if self._stats is None or time.monotonic() - self._told_s < _STATS_EVERY_S:
            return
        self._told_s = time.monotonic()
        scratch = self._stats.with_suffix(".new")
        scratch.write_text(json.dumps(self.summary()))
        scratch.replace(self._stats)

    def summary(self) -> dict[str, object]:
        return {
            "executions": self.executions,
            "accepted": self.accepted,
            "stored": self.stored,
            "rejected": dict(self.rejected),
        }

    def close(self) -> None:
        self._store.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def seeds() -> list[bytes]:
    """Return good inputs of every form, and some that only just are not."""
    host = FakeHost(1)
    payloads = [
        encode_records(host.records()),
        encode_records(host.records(3, gap=True)),
        b"",
        bytes(MAX_PAYLOAD_BYTES + 1),
    ]
    found = []
    for payload in payloads:
        digest = hashlib.blake2b(payload, digest_size=16).digest()
        batch = pb.Batch(
            boot_id=bytes(16), spool_epoch=1, sequence=1 << 40, digest=digest,
            encoding=pb.ENCODING_PLAIN, payload=payload,
        )  # fmt: skip
        found.append(bytes([_REQUEST]) + pb.StreamRequest(batch=batch).SerializeToString())
        found += [bytes([mode]) + payload for mode in (_PAYLOAD, _PACKED)]
    hello = pb.Hello(schema_version=1, host_id=HOST, boot_id=bytes(16))
    found.append(bytes([_REQUEST]) + pb.StreamRequest(hello=hello).SerializeToString())
    return found
