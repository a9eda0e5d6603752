"""How many calls may be open at once: by address, and by certificate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class TooMany(Exception):
    """One more than may be open for the same key."""


class OpenCalls:
    """Counts; used in one event loop."""

    def __init__(self) -> None:
        self._open: Counter[object] = Counter()

    @contextmanager
    def one(self, key: object, most: int) -> Iterator[None]:
        """Count one more as open for the block. Raises TooMany."""
        if self._open[key] >= most:
            raise TooMany
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]

    def __len__(self) -> int:
        """Return how many keys have something open."""
        return len(self._open)
