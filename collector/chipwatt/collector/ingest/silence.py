"""Ends a stream on which nothing is heard: it holds memory and serves nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

IDLE_S = 600.0
"""An agent says how it does every five minutes, whatever its sensors do."""


class Silence:
    """Calls ``end`` with a sentence once nothing was heard for ``most_s``. In one event loop."""

    def __init__(self, most_s: float, end: Callable[[str], None]) -> None:
        self._most_s = most_s
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._heard_s = self._loop.time()
        self._timer = self._loop.call_later(most_s, self._look)

    def heard(self) -> None:
        """Note that something came just now."""
        self._heard_s = self._loop.time()

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        left_s = self._heard_s + self._most_s - self._loop.time()
        if left_s <= 0:
            self._end(f"nothing came for {self._most_s:g} s; connect again when there is something")
        else:
            self._timer = self._loop.call_later(left_s, self._look)
