"""The newest power events, numbered, for any number of watchers that each read at their pace.

The ring is every watcher's queue: who is slow, or was away, goes on where it stopped as
long as that is kept, and delays nobody. Numbers are of one run of the collector, so a
token names the run as well.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice

from chipwatt.v1 import placement_pb2 as pb

KEPT = 10_000
_TOKEN = re.compile(r"([0-9a-f]{16})-([0-9]{1,19})")


class EventLog:
    """A ring of events; safe between threads."""

    def __init__(self, kept: int = KEPT) -> None:
        self._run = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._ring: deque[pb.PowerEvent] = deque(maxlen=kept)
        self._newest = 0
        self._listeners: set[Callable[[], None]] = set()
        self.closed = False
        """Whether no more events will come."""

    @property
    def newest(self) -> int:
        """Number of the newest event; 0 before the first."""
        with self._lock:
            return self._newest

    def append(self, events: Iterable[pb.PowerEvent]) -> None:
        """Give ``events`` their numbers, keep them, and wake who listens."""
        with self._lock:
            before = self._newest
            for event in events:
                self._newest += 1
                event.seq = self._newest
                self._ring.append(event)
            listeners = list(self._listeners) if self._newest > before else []
        for wake in listeners:
            wake()

    def close(self) -> None:
        """Wake who listens for the last time."""
        self.closed = True
        with self._lock:
            listeners = list(self._listeners)
        for wake in listeners:
            wake()

    def after(self, seq: int, limit: int = 256) -> tuple[list[pb.PowerEvent], bool]:
        """Return the next events after ``seq``, and whether some before them are lost."""
        with self._lock:
            oldest = self._newest - len(self._ring) + 1
            start = max(seq + 1, oldest) - oldest
            return list(islice(self._ring, start, start + limit)), seq + 1 < oldest

    def token(self, seq: int) -> str:
        """Return what a watcher shows to go on after event ``seq``."""
        return f"{self._run}-{seq}"

    def resume(self, token: str) -> tuple[int, bool]:
        """Return the number to go on after, and whether events may be lost.

        A token of another run goes on at the oldest event of this one. Raises ValueError for
        what is no token, or is ahead of this run.
        """
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise ValueError("not a token of this service")
        if match[1] != self._run:
            return 0, True
        seq = int(match[2])
        if seq > self.newest:
            raise ValueError("of an event that has not happened")
        return seq, False

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call ``wake`` after every append, in the thread of the append; returns how to stop."""
        with self._lock:
            self._listeners.add(wake)

        def stop() -> None:
            with self._lock:
                self._listeners.discard(wake)

        return stop

    @property
    def listening(self) -> int:
        """How many listen."""
        with self._lock:
            return len(self._listeners)
