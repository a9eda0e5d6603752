"""Which batches are stored already: exact for ever, by digest for the newest of each stream."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from enum import Enum

from chipwatt.collector.store.contract import BatchKey, StreamState
from chipwatt.collector.store.ranges import Ranges
from chipwatt.collector.store.stream_book import RECENT_DIGESTS

_DIGEST_BYTES = 16


class Verdict(Enum):
    """What a batch is, seen from what is stored."""

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    """Its key is stored with another digest: a clone, or a host rolled back to a snapshot."""


class Dedupe:
    """Pure state: nothing of it is on disk that the store did not write with the rows."""

    def __init__(self, states: Iterable[StreamState] = ()) -> None:
        self._streams: dict[tuple[bytes, bytes, int], _Stream] = {}
        for state in states:
            stream = _Stream(Ranges(state.seen))
            for sequence, digest in state.digests:
                stream.remember(sequence, digest)
            self._streams[state.host, state.boot, state.spool_epoch] = stream

    def judge(self, key: BatchKey, digest: bytes) -> Verdict:
        """Say what a batch is. One that is stored but no longer remembered is a duplicate."""
        stream = self._streams.get((key.host, key.boot, key.spool_epoch))
        if stream is None or key.sequence not in stream.seen:
            return Verdict.NEW
        known = stream.recall(key.sequence)
        return Verdict.DUPLICATE if known in (None, digest) else Verdict.CONFLICT

    def add(self, key: BatchKey, digest: bytes) -> None:
        """Take note that a batch is stored."""
        name = (key.host, key.boot, key.spool_epoch)
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = _Stream(Ranges())
        stream.seen.add(key.sequence, key.sequence)
        stream.remember(key.sequence, digest)


class _Stream:
    """Flat arrays: ten thousand of these are some 20 MB."""

    __slots__ = ("_digests", "_next", "_sequences", "seen")

    def __init__(self, seen: Ranges) -> None:
        self.seen = seen
        self._sequences = array("Q")
        self._digests = bytearray()
        self._next = 0

    def remember(self, sequence: int, digest: bytes) -> None:
        at = self._next
        if at == len(self._sequences):
            self._sequences.append(sequence)
            self._digests += digest
        else:
            self._sequences[at] = sequence
            self._digests[at * _DIGEST_BYTES : (at + 1) * _DIGEST_BYTES] = digest
        self._next = (at + 1) % RECENT_DIGESTS

    def recall(self, sequence: int) -> bytes | None:
        try:
            at = self._sequences.index(sequence)
        except ValueError:
            return None
        return bytes(self._digests[at * _DIGEST_BYTES : (at + 1) * _DIGEST_BYTES])
