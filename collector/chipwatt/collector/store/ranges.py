"""Sets of integers as sorted, disjoint, inclusive ranges."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable


class Ranges:
    """A set of integers that mostly arrive in order: adding the next one is O(1)."""

    __slots__ = ("_highs", "_lows", "covered")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._lows: list[int] = []
        self._highs: list[int] = []
        self.covered = 0
        """Integers in the set."""
        for low, high in ranges:
            self.add(low, high)

    def add(self, low: int, high: int) -> int:
        """Add ``low..high``, both included; return how many of them are new."""
        if high < low:
            raise ValueError(f"{low}..{high} is upside down")
        lows, highs = self._lows, self._highs
        if highs and low == highs[-1] + 1:
            highs[-1] = high
            self.covered += high - low + 1
            return high - low + 1
        first = bisect_left(highs, low - 1)
        last = bisect_right(lows, high + 1)
        replaced = sum(highs[i] - lows[i] + 1 for i in range(first, last))
        if first < last:
            low, high = min(low, lows[first]), max(high, highs[last - 1])
        lows[first:last] = [low]
        highs[first:last] = [high]
        new = high - low + 1 - replaced
        self.covered += new
        return new

    def __contains__(self, value: int) -> bool:
        position = bisect_left(self._highs, value)
        return position < len(self._lows) and self._lows[position] <= value

    def overlaps(self, low: int, high: int) -> bool:
        """Whether any of ``low..high`` is in the set."""
        position = bisect_left(self._highs, low)
        return position < len(self._lows) and self._lows[position] <= high

    def __len__(self) -> int:
        """Return the number of ranges."""
        return len(self._lows)

    @property
    def missing(self) -> int:
        """How many integers between the least and the greatest are not in the set."""
        return self._highs[-1] - self._lows[0] + 1 - self.covered if self._lows else 0

    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Return the ranges, ascending and apart."""
        return tuple(zip(self._lows, self._highs, strict=True))
