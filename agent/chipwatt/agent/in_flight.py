"""Batches that were sent and not yet answered: which records are settled by an answer.

Records go out in two lanes, the newest and the backlog before them, each in the
spool's order (see ``stream``). The collector answers in the order in which
batches arrive. So an ack stands for what was sent no later than the batch that it names,
and the spool's cursor, which is one position, moves through the backlog first.
"""

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
        self._backlog: deque[_Sent] = deque()
        self._newest: deque[_Sent] = deque()
        self._newest_settled: Position | None = None
        self.is_backlog_sent = False
        """Whether nothing more comes in the lane of the backlog."""

    def __len__(self) -> int:
        """Count the batches that wait for an answer."""
        return len(self._sent)

    def send(self, record: Spooled, *, newest: bool = True) -> None:
        """Note that a record was sent; each lane's records come in the spool's order."""
        sent = _Sent(record.epoch, record.sequence, record.position)
        self._sent.append(sent)
        (self._newest if newest else self._backlog).append(sent)

    def acked(self, epoch: int, sequence: int) -> int:
        """Settle the batch and, of those sent before it, the ones of ``epoch`` up to ``sequence``.

        Returns how many that were; none where no such batch is under way.
        """
        names = [(sent.epoch, sent.sequence) for sent in self._sent]
        if (epoch, sequence) not in names:
            return 0
        before = names.index((epoch, sequence)) + 1
        return self._settle(
            [s for s in list(self._sent)[:before] if s.epoch == epoch and s.sequence <= sequence]
        )

    def refused(self, epoch: int, sequence: int) -> int:
        """Settle one batch; returns 1, or 0 where it was not under way."""
        return self._settle([s for s in self._sent if s.epoch == epoch and s.sequence == sequence])

    def take_settled(self) -> Position | None:
        """Return the position before which nothing is under way, where it moved since last time."""
        position = _settled(self._backlog)
        self._newest_settled = _settled(self._newest) or self._newest_settled
        if self.is_backlog_sent and not self._backlog and self._newest_settled:
            position, self._newest_settled = self._newest_settled, None
        return position

    def _settle(self, answered: list[_Sent]) -> int:
        for sent in answered:
            sent.settled = True
        self._sent = deque(sent for sent in self._sent if not sent.settled)
        return len(answered)


def _settled(lane: deque[_Sent]) -> Position | None:
    """Take away what is settled at the head of ``lane``; return the last one's position."""
    position: Position | None = None
    while lane and lane[0].settled:
        position = lane.popleft().position
    return position
