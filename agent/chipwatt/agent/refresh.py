"""Measures how often a sensor's value really refreshes, from the readings themselves.

Vendors document refresh periods that their chips do not keep, so the period is
taken from the times between changes of the value. Two traps:

- A sensor that changes at every poll may refresh much faster than it is polled:
  then the polling period is only an upper bound.
- A gauge at constant load repeats its value over many refreshes. Times between
  changes are then multiples of the refresh, and their median is too long. So
  the estimate starts from the lower quartile, and rises only where the changes
  come like clockwork.
"""

from __future__ import annotations

from collections import deque

from chipwatt.core.clock import NS_PER_MS, NS_PER_S

MIN_CHANGES = 8
"""Fewer changes than this say nothing."""
MAX_REFRESH_NS = 60 * NS_PER_S
_KEPT = 64


class RefreshMeter:
    """Estimates one sensor's refresh period."""

    __slots__ = ("_changed_ns", "_intervals", "_stamped", "_value", "measured", "refresh_ns",
                 "seen_ns")  # fmt: skip

    def __init__(self, hint_ns: int, *, stamped: bool) -> None:
        """Begin with what the vendor documents (0: nothing); see ``Sensor.stamped``."""
        self.refresh_ns = hint_ns
        """The estimate; 0 not known."""
        self.measured = False
        """Whether the estimate was seen; else it is what the vendor documents."""
        self.seen_ns = 0
        """Time of the newest reading; 0 before the first."""
        self._stamped = stamped
        self._value: int | None = None
        self._changed_ns = 0
        self._intervals: deque[int] = deque(maxlen=_KEPT)

    def see(self, mono_ns: int, value: int) -> None:
        """Take one reading in."""
        if value == self._value and (not self._stamped or mono_ns == self.seen_ns):
            self.seen_ns = mono_ns
            return
        if self._changed_ns:
            self._intervals.append(mono_ns - self._changed_ns)
        self.seen_ns = self._changed_ns = mono_ns
        self._value = value

    def newest(self) -> tuple[int, int] | None:
        """Return time and value of the newest change; None before the first reading."""
        return None if self._value is None else (self._changed_ns, self._value)

    def restart(self) -> None:
        """Forget the intervals: polls come at another period from now on, or came late."""
        self._intervals.clear()
        self._changed_ns = 0

    def assess(self, period_ns: int) -> bool:
        """Renew the estimate from polls ``period_ns`` apart; True where it moved by over 10 %."""
        before_ns = self.refresh_ns
        measured_ns = _estimate(self._intervals, period_ns, before_ns)
        if measured_ns is None:
            return False
        self.measured = True
        if abs(measured_ns - before_ns) * 10 <= before_ns:
            return False
        self.refresh_ns = measured_ns
        return True


def _estimate(intervals: deque[int], period_ns: int, known_ns: int) -> int | None:
    """Return what the intervals say; None where they say nothing that is not known."""
    count = len(intervals)
    if count < MIN_CHANGES:
        return None
    ordered = sorted(intervals)
    if ordered[count // 2] * 4 <= period_ns * 5:
        return None if 0 < known_ns < period_ns else period_ns
    base_ns = ordered[count // 4]
    # Polls see a refresh of T as intervals one period longer or shorter, whose mean is T.
    one_poll_ns = period_ns * 21 // 20
    regular = _within(ordered, base_ns, max(base_ns * 3 // 10, one_poll_ns))
    if len(regular) * 3 >= count:
        near = _within(ordered, base_ns, max(base_ns // 2, one_poll_ns))
        base_ns = sum(near) // len(near)
    elif known_ns <= base_ns:
        return None
    return min(base_ns, MAX_REFRESH_NS)


def _within(intervals: list[int], centre_ns: int, reach_ns: int) -> list[int]:
    return [interval for interval in intervals if abs(interval - centre_ns) <= reach_ns]


def poll_period_ns(refresh_ns: int, fastest_ns: int) -> int:
    """Return half the refresh in whole ms, never below ``fastest_ns``; that where it is unknown."""
    half_ms = -(-refresh_ns // (2 * NS_PER_MS))
    return max(fastest_ns, half_ms * NS_PER_MS)
