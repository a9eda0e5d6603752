"""What the spool counts, and what troubles it at present."""

from __future__ import annotations

from collections.abc import Sequence

from chipwatt.agent.spool.contract import SpoolCounts
from chipwatt.agent.spool.record import Position
from chipwatt.agent.spool.segment import Segment
from chipwatt.core import log

_log = log.get(__name__)


class Tally:
    """Plain counters; see ``SpoolCounts`` for what they mean."""

    def __init__(self, damaged: int) -> None:
        self.damaged = damaged
        self.appended = self.appended_bytes = self.refused = 0
        self.merged = self.dropped = self.epochs = 0
        self._troubles: dict[str, str] = {}

    @property
    def problem(self) -> str:
        """The sentence of a trouble that lasts; empty where there is none."""
        return next(iter(self._troubles.values()), "")

    def trouble(self, kind: str, sentence: str) -> None:
        """Note that something of this kind goes wrong, or with no sentence that it works again."""
        if not sentence:
            self._troubles.pop(kind, None)
        elif self._troubles.get(kind) != sentence:
            self._troubles[kind] = sentence
            _log.error("trouble with the spool", about=kind, reason=sentence)

    def counts(self, segments: Sequence[Segment], cursor: Position) -> SpoolCounts:
        """Return the counts, given what is on disk."""
        held = [segment for segment in segments if len(segment)]
        waiting = next((segment for segment in held if unsettled(segment, cursor)), None)
        return SpoolCounts(
            records=sum(len(segment) for segment in held),
            bytes=sum(segment.end for segment in segments),
            first_sequence=held[0].firsts[0] if held else 0,
            last_sequence=held[-1].next_sequence - 1 if held else 0,
            unacked=sum(unsettled(segment, cursor) for segment in held),
            oldest_unix_ns=waiting.unix_ns[-unsettled(waiting, cursor)] if waiting else 0,
            coarsest_ns=max((segment.header.resolution_ns for segment in held), default=0),
            appended=self.appended,
            appended_bytes=self.appended_bytes,
            refused=self.refused,
            merged=self.merged,
            dropped=self.dropped,
            damaged=self.damaged,
            epochs=self.epochs,
        )


def unsettled(segment: Segment, cursor: Position) -> int:
    """Return how many records of a segment lie behind the cursor."""
    if segment.header.number < cursor.segment:
        return 0
    same = segment.header.number == cursor.segment
    return segment.after(cursor.offset if same else 0)
