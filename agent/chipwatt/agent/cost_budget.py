"""Keeps the sensing process inside its cost budget by making polls rarer, and often again.

Two shares of wall time are watched: CPU time of the process, and time inside
vendor libraries, whose locks other users of the chip wait for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chipwatt.core.clock import NS_PER_S

MAX_FACTOR = 64
CALM_ASSESSMENTS = 3
"""Assessments in a row that must leave room before polls become more frequent again."""
_ROOM = 0.8


@dataclass(slots=True)
class _Line:
    """One budget line; ``factor`` is what its polling periods are multiplied by."""

    share: float
    factor: int = 1
    used: float = 0.0
    _calm: int = 0

    def assess(self, used: float) -> bool:
        """Judge the share used since the last time; True where the factor changed."""
        self.used = used
        if used > self.share:
            self._calm = 0
            if self.factor < MAX_FACTOR:
                self.factor *= 2
                return True
        elif self.factor > 1 and 2 * used < _ROOM * self.share:
            # Twice the polls cost at most twice as much: they would fit, with room.
            self._calm += 1
            if self._calm >= CALM_ASSESSMENTS:
                self._calm = 0
                self.factor //= 2
                return True
        else:
            self._calm = 0
        return False


class CostBudget:
    """Turns cost measured so far into factors for the polling periods."""

    def __init__(
        self,
        cpu_share: float,
        library_share: float,
        *,
        cpu_ns: Callable[[], int],
        mono_ns: int,
    ) -> None:
        """Count from ``mono_ns`` on; ``cpu_ns`` gives the CPU time of this process so far."""
        self._cpu = _Line(cpu_share)
        self._library = _Line(library_share)
        self._cpu_ns = cpu_ns
        self._since_ns = mono_ns
        self._cpu_before_ns = cpu_ns()
        self._library_before_ns = 0

    def restart(self, mono_ns: int, library_ns: int) -> None:
        """Count from now on: what was spent before (start, first measurement) is not judged."""
        self._since_ns = mono_ns
        self._cpu_before_ns = self._cpu_ns()
        self._library_before_ns = library_ns

    def assess(self, mono_ns: int, library_ns: int) -> bool:
        """Judge what was spent since the last time; True where a factor changed.

        ``library_ns`` is the time inside vendor libraries since the start.
        """
        wall_ns = mono_ns - self._since_ns
        if wall_ns < NS_PER_S:
            return False
        cpu_changed = self._cpu.assess((self._cpu_ns() - self._cpu_before_ns) / wall_ns)
        library_changed = self._library.assess((library_ns - self._library_before_ns) / wall_ns)
        self.restart(mono_ns, library_ns)
        return cpu_changed or library_changed

    def factor(self, *, library: bool) -> int:
        """Return what to multiply a source's polling period by; 1 inside the budget."""
        return max(self._cpu.factor, self._library.factor) if library else self._cpu.factor
