"""One request at a time to one receiver, again and again until it is settled."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final

from chipwatt.collector.otlp.config import Destination
from chipwatt.collector.otlp.links import LONGEST_DELAY_S, Link, link_to
from chipwatt.collector.otlp.request import Request
from chipwatt.collector.otlp.retry import Answer, Verdict
from chipwatt.core.backoff import delays_s
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.log import get

FIRST_DELAY_S: Final = 1.0
SLOWEST: Final = 6.0
"""How many times its timeout a slow receiver is given in the end."""
MAX_REFUSALS: Final = 64
"""Parts of one request that may be refused for what is in them; later ones are given up whole."""
_log = get(__name__)


@dataclass(slots=True)
class Sent:
    """What became of the points so far."""

    points: int = 0
    """Taken by the receiver."""
    rejected: int = 0
    """Refused by the receiver, in part (partial success) or with the whole request; lost there."""
    retries: int = 0
    """Requests sent again."""


class Sender:
    """A way to the receiver and the patience to use it."""

    def __init__(
        self,
        destination: Destination,
        *,
        delays: Callable[[], Iterator[float]] = lambda: delays_s(FIRST_DELAY_S, LONGEST_DELAY_S),
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Prepare the way, which connects when it is first used.

        ``delays`` and ``wait`` are the back-off. Raises ConfigError where a
        file of TLS cannot be read.
        """
        self.sent = Sent()
        self._endpoint = destination.endpoint
        self._timeout_s = destination.timeout / NS_PER_S
        self._slowest_s = self._timeout_s * SLOWEST
        self._delays = delays
        self._wait = wait
        self._link: Link = link_to(destination)
        self._most_bytes: int | None = None  # learned from the receiver

    async def send(self, request: Request) -> None:
        """Return once the receiver took the request or refused it for good.

        Until then it is sent again after each failure that OTLP calls retryable, with
        growing pauses, however long that takes: the store keeps what comes after.
        What is too large is halved. What is refused for its content is halved, too,
        until the points are found that the receiver does not want.
        """
        parts = deque([request])
        refusals = 0
        while parts:
            part = parts.popleft()
            if self._is_too_large(part):
                parts.extendleft(reversed(part.halves()))
                continue
            answer = await self._answered(part)
            if answer.verdict is Verdict.TAKEN:
                self._settle(part.points, answer)
            elif answer.verdict is Verdict.TOO_LARGE and part.points > 1:
                self._most_bytes = len(part.data) - 1
                parts.appendleft(part)
            elif answer.verdict is Verdict.BAD_DATA and part.points > 1 and refusals < MAX_REFUSALS:
                refusals += 1
                # Behind all others, so that what is given up in the end are the smallest parts.
                parts.extend(part.halves())
            else:
                self.sent.rejected += part.points
                self._complain("otlp receiver refused points for good, dropped", part, answer)

    async def close(self) -> None:
        """Give up the connection."""
        await self._link.close()

    def _is_too_large(self, part: Request) -> bool:
        most = self._most_bytes
        return most is not None and part.points > 1 and len(part.data) > most

    async def _answered(self, part: Request) -> Answer:
        """Send until there is an answer that does not ask for patience."""
        delays = self._delays()
        while True:
            answer = await self._link.send(part.data, self._timeout_s)
            if answer.verdict is not Verdict.RETRY:
                return answer
            if answer.is_timeout:
                self._timeout_s = min(2 * self._timeout_s, self._slowest_s)
            self.sent.retries += 1
            self._complain("otlp receiver did not take a request, will retry", part, answer)
            await self._wait(answer.after_s + next(delays))

    def _settle(self, points: int, answer: Answer) -> None:
        rejected = min(answer.rejected, points)
        self.sent.points += points - rejected
        self.sent.rejected += rejected
        if rejected or answer.said:
            _log.warning(
                "otlp receiver took a request in part",
                endpoint=self._endpoint,
                rejected=rejected,
                points=points,
                said=answer.said,
            )

    def _complain(self, event: str, part: Request, answer: Answer) -> None:
        _log.warning(event, endpoint=self._endpoint, points=part.points, said=answer.said)
