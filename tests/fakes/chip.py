"""A simulated chip: a power trace as truth, and the counter that firmware would show of it."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

NS_MW_PER_UJ = 1_000_000


class Chip:
    """Power in steps of ``(duration_ns, power_mw)``, repeated for ever.

    Firmware updates its counter every ``refresh_ns``, give or take ``jitter``
    (a standard deviation, as a share of it).
    """

    def __init__(
        self,
        steps: Sequence[tuple[int, int]],
        *,
        refresh_ns: int = 1_000_000,
        jitter: float = 0.0,
        modulus_uj: int = 0,
        start_uj: int = 0,
        seed: int = 1,
    ) -> None:
        self._ends = list(accumulate(length for length, _ in steps))
        self._energy = [0, *accumulate(length * power for length, power in steps)]
        self._steps = list(steps)
        self.refresh_ns = refresh_ns
        self.modulus_uj = modulus_uj
        self._shift_uj = start_uj
        self._updated_ns = 0
        self._next_ns = refresh_ns
        self._jitter = jitter
        self._random = random.Random(seed)

    def energy_uj(self, at_ns: int) -> int:
        """Return the true energy from 0 to ``at_ns``."""
        rounds, rest_ns = divmod(at_ns, self._ends[-1])
        index = bisect_right(self._ends, rest_ns)
        before_ns = self._ends[index - 1] if index else 0
        inside = self._energy[index] + (rest_ns - before_ns) * self._steps[index][1]
        return (rounds * self._energy[-1] + inside) // NS_MW_PER_UJ

    def mean_mw(self, from_ns: int, to_ns: int) -> float:
        """Return the true mean power."""
        energy_uj = self.energy_uj(to_ns) - self.energy_uj(from_ns)
        return energy_uj * NS_MW_PER_UJ / (to_ns - from_ns)

    def updated_ns(self, at_ns: int) -> int:
        """Return when the value shown at ``at_ns`` was made; to be asked in order of time."""
        if not self._jitter:
            return at_ns // self.refresh_ns * self.refresh_ns
        while self._next_ns <= at_ns:
            self._updated_ns = self._next_ns
            period = self._random.gauss(1.0, self._jitter) * self.refresh_ns
            self._next_ns += max(self.refresh_ns // 100, round(period))
        return self._updated_ns

    def counter_uj(self, at_ns: int) -> int:
        """Return what the counter shows."""
        total = self.energy_uj(self.updated_ns(at_ns)) + self._shift_uj
        return total % self.modulus_uj if self.modulus_uj else total

    def reset(self, at_ns: int, value_uj: int = 0) -> None:
        """Start the counter anew."""
        self._shift_uj = value_uj - self.energy_uj(self.updated_ns(at_ns))

    def peak_mw(self, span_ns: int, from_ns: int, to_ns: int, every_ns: int = 100_000) -> float:
        """Return the largest true mean over a span that ends in an interval, by brute force."""
        ends = range(max(from_ns, span_ns), to_ns, every_ns)
        return max(self.mean_mw(end_ns - span_ns, end_ns) for end_ns in ends)


def poll(
    chip: Chip, observe: Callable[[int, int], None], from_ns: int, to_ns: int, period_ns: int
) -> None:
    """Read the counter at equal intervals."""
    for at_ns in range(from_ns, to_ns, period_ns):
        observe(at_ns, chip.counter_uj(at_ns))
