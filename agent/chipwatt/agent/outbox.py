"""Frames on their way to the agent: they wait in memory while it does not read."""

from __future__ import annotations

import socket
from collections import deque

from chipwatt.agent import sensing_link as link

QUEUE_BYTES = 16 << 20
"""What waits for a stalled agent, at most: hours of windows of a large host."""


class Outbox:
    """Sends frames to the agent; unless ``blocking``, without ever waiting for it."""

    def __init__(
        self, sock: socket.socket, *, blocking: bool, queue_bytes: int = QUEUE_BYTES
    ) -> None:
        sock.setblocking(blocking)
        self._sock = sock
        self._blocking = blocking
        self._queue: deque[bytes] = deque()
        self._queue_bytes = queue_bytes
        self._held_bytes = 0
        self._sent_of_first = 0
        self.dropped = 0
        """Frames thrown away, oldest first, because the agent took none for too long."""

    def push(self, message: link.Message) -> None:
        """Send a frame now or, where the agent lags, as soon as it reads again."""
        frame = link.encode(message)
        self._queue.append(frame)
        self._held_bytes += len(frame)
        self.flush()
        self._shed()

    def flush(self) -> bool:
        """Send what fits; True once nothing is left. Raises OSError where the agent is gone."""
        while self._queue:
            first = self._queue[0]
            try:
                self._sent_of_first += self._sock.send(memoryview(first)[self._sent_of_first :])
            except BlockingIOError:
                return False
            if self._sent_of_first == len(first):
                self._queue.popleft()
                self._held_bytes -= len(first)
                self._sent_of_first = 0
        return True

    def drain(self, timeout_s: float) -> bool:
        """Send all that is left, waiting at most ``timeout_s`` for each step of the agent."""
        self._sock.settimeout(timeout_s)
        try:
            return self.flush()
        except TimeoutError:
            return False
        finally:
            self._sock.setblocking(self._blocking)

    def _shed(self) -> None:
        # The frame that is partly sent must stay, or the stream would lose its framing.
        keep_first = 1 if self._sent_of_first else 0
        while self._held_bytes > self._queue_bytes and len(self._queue) > 1 + keep_first:
            self._held_bytes -= len(self._queue[keep_first])
            del self._queue[keep_first]
            self.dropped += 1
