"""Decides that a power limit is wrong, rather than the sensor whose every reading is above it.

One reading above what is possible is a spike and is dropped. Where for ten seconds none was
believed, and they move, as no sentinel does, and stay within what such a domain may draw, the
bound gives way to what was seen. A bound that is still too low gives way again.
"""

from __future__ import annotations

from typing import Final

from chipwatt.core.clock import NS_PER_S

PATIENCE_NS: Final = 10 * NS_PER_S
_DISTINCT: Final = 3
_NS_MW_PER_UJ: Final = 1_000_000
_ABOVE_MEAN: Final = 3
"""A counter's bound, over its mean while none was believed: its peaks are not known."""


class LimitDoubt:
    """Of one sensor."""

    def __init__(self, *, counter: bool, utmost_mw: int) -> None:
        """Raise no bound above ``utmost_mw``; 0 raises none."""
        self._counter = counter
        self._utmost_mw = utmost_mw
        self._values: set[int] = set()
        self._seen_ns = self._first_ns = self._first = self._last = 0
        self._most = 0

    def raised_mw(self, seen_ns: int, mono_ns: int, value: int) -> int:
        """Take a reading that was refused as too much; return the new bound, 0 where none is due.

        ``seen_ns`` is the stamp of the newest reading that was believed, ``value`` µJ of a
        counter or mW of a gauge.
        """
        fell = self._counter and value < self._last
        if not self._counter and value > self._utmost_mw:
            self._values.clear()
            return 0
        if not self._values or seen_ns != self._seen_ns or fell:
            self._values = {value}
            self._seen_ns, self._first_ns = seen_ns, mono_ns
            self._first = self._most = value
        self._last, self._most = value, max(self._most, value)
        if len(self._values) < _DISTINCT:
            self._values.add(value)
        span_ns = mono_ns - self._first_ns
        if span_ns < PATIENCE_NS or len(self._values) < _DISTINCT:
            return 0
        self._values.clear()
        if not self._counter:
            return min(self._most * 3 // 2, self._utmost_mw)
        mean_mw = (value - self._first) * _NS_MW_PER_UJ // span_ns
        return min(_ABOVE_MEAN * mean_mw, self._utmost_mw) if mean_mw <= self._utmost_mw else 0
