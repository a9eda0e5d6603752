"""Batches that were sent and not yet answered: which records are settled by an answer."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from chipwatt.agent.spool.contract import Spooled
from chipwatt.agent.spool.record import Position


@dataclass(slots=True)
class _Sent:
    epoch: int
    sequence: int
    position: Position
    settled: bool = False


class InFlight:
    """Pure book-keeping of one stream: acks are cumulative in a spool epoch, refusals single."""

    def __init__(self) -> None:
        self._sent: deque[_Sent] = deque()

    def __len__(self) -> int:
        """Count the batches that wait for an answer, also behind answered ones."""
        return sum(not sent.settled for sent in self._sent)

    def send(self, record: Spooled) -> None:
        """Note that a record was sent; records come in the spool's order."""
        self._sent.append(_Sent(record.epoch, record.sequence, record.position))

    def acked(self, epoch: int, sequence: int) -> int:
        """Settle every batch of ``epoch`` up to ``sequence``; returns how many that were."""
        return self._settle([s for s in self._sent if s.epoch == epoch and s.sequence <= sequence])

    def refused(self, epoch: int, sequence: int) -> int:
        """Settle one batch; returns 1, or 0 where it was not under way."""
        return self._settle([s for s in self._sent if s.epoch == epoch and s.sequence == sequence])

    def take_settled(self) -> Position | None:
        """Return the position before which nothing is under way, where it moved since last time."""
        position: Position | None = None
        while self._sent and self._sent[0].settled:
            position = self._sent.popleft().position
        return position

    @staticmethod
    def _settle(answered: list[_Sent]) -> int:
        waiting = [sent for sent in answered if not sent.settled]
        for sent in waiting:
            sent.settled = True
        return len(waiting)
