"""Who may open a stream now: what does not fit is told when to come again, before it costs much.

A collector that comes back meets all its agents at once. Each of them keeps its
records, so that it loses nothing by waiting; a collector that takes them all
may lose everybody. Two things are bounded: streams, which cost memory for as
long as they live, and openings under way, which cost a write to the store each.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc

from chipwatt.collector.ingest.identity import StreamRefused
from chipwatt.core.retry_hint import exhausted_metadata

MAX_STREAMS = 20_000
MAX_OPENINGS = 64
OPENINGS_DELAY_S = (1.0, 15.0)
"""Between these it is random when one may come again who met too many others."""
STREAMS_DELAY_S = (30.0, 60.0)
"""The same where there is no room at all: streams live long."""


class Busy(StreamRefused):
    """No room now; ``metadata`` says when to come again."""

    def __init__(self, reason: str, delay_s: float) -> None:
        super().__init__(
            grpc.StatusCode.RESOURCE_EXHAUSTED, f"{reason}; come again in {delay_s:.0f} s"
        )
        self.metadata = exhausted_metadata(delay_s)


class Admission:
    """Counts; used in one event loop."""

    def __init__(
        self,
        max_streams: int,
        max_openings: int = MAX_OPENINGS,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._max_streams = max_streams
        self._max_openings = max_openings
        self._uniform = uniform
        self._openings = 0
        self.shed = 0
        """Streams sent away for want of room."""

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Count one opening as under way. Raises Busy."""
        if self._openings >= self._max_openings:
            raise self._busy("too many agents are connecting at once", OPENINGS_DELAY_S)
        self._openings += 1
        try:
            yield
        finally:
            self._openings -= 1

    def check(self, others: int) -> None:
        """Raise Busy where a stream beside ``others`` is one too many."""
        # Those that are past this and not yet open are few: ``opening`` bounds them.
        if others >= self._max_streams:
            raise self._busy(f"{others} agents are connected, as many as may be", STREAMS_DELAY_S)

    def _busy(self, reason: str, delay_s: tuple[float, float]) -> Busy:
        self.shed += 1
        return Busy(reason, self._uniform(*delay_s))
