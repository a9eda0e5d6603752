"""Which batches are stored already: sequences for ever, digests for the newest of a stream.

What is stored but not among the newest is KNOWN: whether its content is the
same, the fingerprints in the store say (``store.fingerprints``, for 30 days).
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from enum import Enum

from chipwatt.collector.store.contract import BatchKey, StreamState
from chipwatt.collector.store.ranges import Ranges
from chipwatt.collector.store.stream_book import RECENT_DIGESTS

MAX_FRAGMENTS = 4096
"""Stretches of sequences that one stream may be in: bounds what is kept of it to 64 KiB."""
_DIGEST_BYTES = 16


class Verdict(Enum):
    """What a batch is, seen from what is stored."""

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    """Its key is stored with another digest: a clone, or a host rolled back to a snapshot."""
    KNOWN = "known"
    """Its key is stored; of which content is not remembered here."""
    FRAGMENT = "fragment"
    """New, but its stream has too many holes to remember one more."""


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
        """Say what a batch is."""
        stream = self._streams.get((key.host, key.boot, key.spool_epoch))
        if stream is None:
            return Verdict.NEW
        if key.sequence not in stream.seen:
            is_one_too_many = len(stream.seen) >= MAX_FRAGMENTS and not (
                key.sequence - 1 in stream.seen or key.sequence + 1 in stream.seen
            )
            return Verdict.FRAGMENT if is_one_too_many else Verdict.NEW
        known = stream.recall(key.sequence)
        if known is None:
            return Verdict.KNOWN
        return Verdict.DUPLICATE if known == digest else Verdict.CONFLICT

    def add(self, key: BatchKey, digest: bytes) -> None:
        """Take note that a batch is stored."""
        name = (key.host, key.boot, key.spool_epoch)
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = _Stream(Ranges())
        stream.seen.add(key.sequence, key.sequence)
        stream.remember(key.sequence, digest)

    def missing(self) -> dict[bytes, int]:
        """Return how many sequences between stored ones are not, by host; 0 is left out.

        They were merged or lost in the agent's spool, refused, are still under way,
        or went to another collector.
        """
        counted: Counter[bytes] = Counter()
        for (host, _, _), stream in list(self._streams.items()):
            counted[host] += stream.seen.missing
        return {host: count for host, count in counted.items() if count}


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
