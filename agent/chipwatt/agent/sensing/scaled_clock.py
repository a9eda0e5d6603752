"""A clock that runs faster or slower than the machine's, for replays in real time."""

from __future__ import annotations

from fractions import Fraction

from chipwatt.core.clock import Clock, SystemClock


class ScaledClock:
    """``speed`` seconds of its own pass in one second of ``base``.

    ``mono_ns`` is 0 where it was made, and wall time is ``start_unix_ns`` there.
    """

    def __init__(self, start_unix_ns: int, speed: Fraction, base: Clock | None = None) -> None:
        self._base = base or SystemClock()
        self._start_unix_ns = start_unix_ns
        self._speed = speed
        self._origin_ns = self._base.mono_ns()

    def mono_ns(self) -> int:
        passed_ns = self._base.mono_ns() - self._origin_ns
        return passed_ns * self._speed.numerator // self._speed.denominator

    def unix_ns(self) -> int:
        return self._start_unix_ns + self.mono_ns()

    def sleep_until(self, mono_ns: int) -> None:
        # Rounded up: a wait that ended a nanosecond early would have to be waited again.
        base_ns = -(-mono_ns * self._speed.denominator // self._speed.numerator)
        self._base.sleep_until(self._origin_ns + base_ns)
