"""Who sends what is refused pays with its own time, however many calls it makes at once.

Each refusal is followed by a pause in which no request of the same certificate is
looked at. Somebody who errs once does not notice; a flood of bombs is parsed twenty
times a second, whatever connections it comes over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

PAUSE_S = 0.025
"""Counted when a call has to wait and again when it is refused: twenty a second in a flood."""
MOST_WAIT_S = 2.0
"""Calls that would wait longer are refused at once."""
_PRUNE_FROM = 4096


class Penalties:
    """Used in one event loop."""

    def __init__(self, mono_s: Callable[[], float] = time.monotonic) -> None:
        self._mono_s = mono_s
        self._until_s: dict[Hashable, float] = {}

    def punish(self, key: Hashable) -> None:
        """Note a refusal."""
        now_s = self._mono_s()
        if len(self._until_s) >= _PRUNE_FROM:
            ended = [one for one, until_s in self._until_s.items() if until_s <= now_s]
            for one in ended:
                del self._until_s[one]
        self._until_s[key] = max(now_s, self._until_s.get(key, 0.0)) + PAUSE_S

    def take(self, key: Hashable) -> float | None:
        """Return how many seconds a call has to wait, mostly 0; None where that is too long.

        Those that wait do so one behind the other.
        """
        now_s = self._mono_s()
        until_s = self._until_s.get(key, 0.0)
        if until_s <= now_s:
            self._until_s.pop(key, None)
            return 0.0
        if until_s - now_s > MOST_WAIT_S:
            return None
        self._until_s[key] = until_s + PAUSE_S
        return until_s - now_s
