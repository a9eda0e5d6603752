"""Which records to merge next: the rule for a quota, on disk as in memory."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final, NamedTuple

from chipwatt.core.clock import NS_PER_S

LADDER_NS: Final = tuple(seconds * NS_PER_S for seconds in (60, 600, 3600, 86_400))
"""Resolutions that records are merged to, one after the other."""
_MOST_BYTES: Final = 4 << 20
"""Of several pieces at a time: bounds the memory and the time of the merging process."""


class Piece(NamedTuple):
    """Some adjacent records, in their order among the others."""

    bytes: int
    resolution_ns: int
    """0 as they were made, else a step of the ladder."""
    kin: Hashable
    """Pieces of different kin are never merged with one another."""
    free: bool
    """Whether they may be merged at all."""


class Step(NamedTuple):
    """Merge pieces ``first`` to ``end``, this one not included, to a resolution."""

    first: int
    end: int
    resolution_ns: int


def next_step(pieces: Sequence[Piece], quota: int) -> Step | None:
    """Return what to merge; None where nothing can be.

    Half of the quota belongs to records as they were made, a quarter to the
    first step of the ladder, and so on: the finest resolution that has more than
    its share gives its oldest pieces to the next, so that age decides how coarse
    a record is. Where all keep to their shares, the finest gives. The coarsest
    pieces only become fewer, two or more at a time.
    """
    levels = (0, *LADDER_NS)
    held = dict.fromkeys(levels, 0)
    for piece in pieces:
        held[piece.resolution_ns] = held.get(piece.resolution_ns, 0) + piece.bytes
    steps = {level: step for level in levels if (step := _oldest(pieces, level, quota))}
    over = (level for at, level in enumerate(levels) if held[level] > quota >> (at + 1))
    chosen = next((level for level in over if level in steps), min(steps, default=None))
    return None if chosen is None else steps[chosen]


def _oldest(pieces: Sequence[Piece], level: int, quota: int) -> Step | None:
    """Return the step for the oldest free pieces of one resolution: at least two where it can."""
    least = 2 if level == LADDER_NS[-1] else 1
    target = next((rung for rung in LADDER_NS if rung > level), level)
    most = min(_MOST_BYTES, quota // 8)
    for first, piece in enumerate(pieces):
        if not piece.free or piece.resolution_ns != level:
            continue
        end, taken = first + 1, piece.bytes
        while end < len(pieces) and pieces[end][1:] == piece[1:]:
            taken += pieces[end].bytes
            if taken > _MOST_BYTES or (taken > most and end - first >= 2):
                break
            end += 1
        if end - first >= least:
            return Step(first, end, target)
    return None
