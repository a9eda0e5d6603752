"""Records that can no longer be read: where they are missing, and the gap that they leave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from chipwatt.agent.spool.contract import Merging
from chipwatt.agent.spool.record import Record
from chipwatt.agent.spool.segment import Segment
from chipwatt.agent.spool.settled import Settled
from chipwatt.core import log

_log = log.get(__name__)
_NEIGHBOURS = 4
"""Records looked at on each side of a loss: not every one has a window of every sensor."""


def lost_before(
    segments: Sequence[Segment], at: int, index: int, settled: Settled | None = None
) -> int:
    """Return how many records are missing in front of record ``index`` of ``segments[at]``.

    Before the oldest one of its epoch, what is not ``settled``.
    """
    segment = segments[at]
    expected = segment.expected(index)
    if not index:
        for before in reversed(segments[:at]):
            if not same_epoch(before, segment):
                break
            expected = before.lasts[-1] + 1 if len(before) else before.header.first_sequence
            if len(before):
                break
        else:
            if settled is not None and not at:
                expected = settled.next_sequence(segment.header)
    return max(0, segment.firsts[index] - expected)


def lost_in_front(
    segments: Sequence[Segment], aside: dict[int, int], settled: Settled | None
) -> int:
    """Return how many records are missing before all segments that were found, and say so.

    Takes those ``aside`` off that are among them.
    """
    first = segments[0] if segments else None
    if first is None or settled is None:
        return 0
    lost = max(0, first.header.first_sequence - settled.next_sequence(first.header))
    if lost:
        for number in [n for n in aside if n < first.header.number]:
            del aside[number]  # counted by their sequences
        _log.error("the spool's oldest records are gone", path=first.path.parent, records_lost=lost)
    return lost


def gap_record(
    segments: Sequence[Segment],
    at: int,
    index: int,
    lost: int,
    merging: Merging,
    settled: Settled | None = None,
) -> Record:
    """Return what takes the place of the ``lost`` records in front of that one.

    It has the sequence of the last of them: where a collector has that one
    already, what it has stays. Raises MergeFailed, and OSError where
    neighbours cannot be read.
    """
    segment = segments[at]
    before = list(islice(_payloads(_backward(segments, at, index)), _NEIGHBOURS))[::-1]
    after = list(islice(_payloads(_forward(segments, at, index)), _NEIGHBOURS))
    stood = settled.stood if settled is not None and not before else b""
    payload = merging.gap(before, after, stood)
    sequence = segment.firsts[index] - 1
    return Record(sequence, lost, segment.unix_ns[index], payload, b"")


def without_holes(
    segments: Sequence[Segment], first: int, end: int, merging: Merging
) -> Iterator[Record]:
    """Yield all records of ``segments[first:end]``, a gap where some are missing.

    Raises MergeFailed and OSError.
    """
    for at in range(first, end):
        segment = segments[at]
        index = 0
        while index < len(segment):
            frames = segment.frames(index, segment.end)
            if frames and (lost := lost_before(segments, at, index)):
                yield gap_record(segments, at, index, lost, merging)
            yield from (frame.record for frame in frames)
            index += len(frames)


def _payloads(places: Iterator[tuple[Segment, int]]) -> Iterator[bytes]:
    for segment, index in places:
        record = segment.record(index)
        if record is not None:
            yield record.payload


def _backward(segments: Sequence[Segment], at: int, index: int) -> Iterator[tuple[Segment, int]]:
    for segment in reversed(segments[: at + 1]):
        if not same_epoch(segment, segments[at]):
            return
        end = index if segment is segments[at] else len(segment)
        for earlier in range(end - 1, -1, -1):
            yield segment, earlier


def _forward(segments: Sequence[Segment], at: int, index: int) -> Iterator[tuple[Segment, int]]:
    for segment in segments[at:]:
        if not same_epoch(segment, segments[at]):
            return
        first = index if segment is segments[at] else 0
        for later in range(first, len(segment)):
            yield segment, later


def same_epoch(first: Segment, second: Segment) -> bool:
    """Return whether the records of one go on where those of the other end."""
    return (first.header.boot_id, first.header.epoch) == (
        second.header.boot_id,
        second.header.epoch,
    )
