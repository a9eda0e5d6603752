"""Time as a value that is passed in: monotonic for intervals, wall clock for labels."""

from __future__ import annotations

import time
from typing import Protocol

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class Clock(Protocol):
    """The two clocks and a way to wait."""

    def mono_ns(self) -> int:
        """Monotonic nanoseconds since an arbitrary origin (boot on Linux)."""
        ...

    def unix_ns(self) -> int:
        """Wall clock: nanoseconds since 1970 UTC, free to jump."""
        ...

    def sleep_until(self, mono_ns: int) -> None:
        """Return at ``mono_ns`` or, where that has passed, at once."""
        ...


class SystemClock:
    """The machine's own clocks."""

    mono_ns = staticmethod(time.monotonic_ns)
    unix_ns = staticmethod(time.time_ns)

    def sleep_until(self, mono_ns: int) -> None:
        left_ns = mono_ns - time.monotonic_ns()
        if left_ns > 0:
            time.sleep(left_ns / NS_PER_S)


class VirtualClock:
    """A clock that stands still until told: a wait is a jump.

    ``mono_ns`` starts at 0 where wall time is ``start_unix_ns``. Replay at full
    speed and tests run on it.
    """

    def __init__(self, start_unix_ns: int) -> None:
        self._start_unix_ns = start_unix_ns
        self._mono_ns = 0

    def mono_ns(self) -> int:
        return self._mono_ns

    def unix_ns(self) -> int:
        return self._start_unix_ns + self._mono_ns

    def sleep_until(self, mono_ns: int) -> None:
        self._mono_ns = max(self._mono_ns, mono_ns)

    def step_wall(self, by_ns: int) -> None:
        """Jump the wall clock alone, as an administrator or NTP would."""
        self._start_unix_ns += by_ns
