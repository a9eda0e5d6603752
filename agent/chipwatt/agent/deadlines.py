"""Absolute deadlines, and what a process does to meet them."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys

from chipwatt.core.clock import NS_PER_S

LATE_NS = 500_000
"""A deadline met later than this counts as late."""
_PR_SET_TIMERSLACK = 29


class Schedule:
    """Deadlines one period apart on a fixed grid: a late wake-up shifts none that follows.

    Schedules that share origin and period fall due together, which saves wake-ups.
    """

    __slots__ = ("_origin_ns", "next_ns", "period_ns")

    def __init__(self, origin_ns: int, period_ns: int) -> None:
        self._origin_ns = origin_ns
        self.period_ns = period_ns
        self.next_ns = origin_ns

    def advance(self, now_ns: int) -> int:
        """Go to the first deadline after ``now_ns``; return how many were due, missed ones too."""
        behind_ns = now_ns - self.next_ns
        if behind_ns < self.period_ns:
            self.next_ns += self.period_ns
            return 1
        due = 1 + behind_ns // self.period_ns
        self.next_ns += due * self.period_ns
        return due

    def change(self, period_ns: int, now_ns: int) -> None:
        """Go on at another period, from its first deadline after ``now_ns``."""
        self.period_ns = period_ns
        self.next_ns = self._origin_ns + ((now_ns - self._origin_ns) // period_ns + 1) * period_ns


def keep_time() -> None:
    """Make this process wake up on time; call it before any thread starts.

    - Linux may delay a timer by its slack, 50 µs by default, to save wake-ups; 1 ns asks for none.
      Threads inherit it. Elsewhere than on Linux nothing happens.
    - A thread that computes keeps the interpreter's lock up to the switch interval after another
      asks for it: 5 ms by default, ten times what a deadline may be late.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)
    sys.setswitchinterval(LATE_NS / NS_PER_S / 2)


def freeze_garbage() -> None:
    """Keep the garbage collector from stopping the loop for milliseconds at any moment.

    What lives now is frozen, so that ``collect_garbage``, called when there is
    time, looks only at what was made since.
    """
    gc.collect()
    gc.disable()
    gc.freeze()


def collect_garbage() -> None:
    """Free reference cycles made since ``freeze_garbage``; well below 1 ms, as little is made."""
    gc.collect()
