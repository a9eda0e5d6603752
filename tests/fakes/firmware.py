"""Firmware that shows a load through an energy counter and gauges, as polls see it, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fakes.scenario import Point, energy_uj

Seen = list[tuple[int, int]]
"""Time and value of every poll."""


@dataclass(frozen=True)
class Firmware:
    """A chip with a load; a refresh shows what was so at its own time."""

    load: Sequence[Point]
    refresh_ns: int = 100_000_000
    averaging_ns: int = 1_000_000_000
    instant_ns: int = 25_000_000
    phase_ns: int = 0
    """Of the gauges' refresh, beside the counter's."""
    gain_ppm: int = 0
    """By how much the averaged gauge shows too much."""
    noise_mw: Sequence[int] = (0,)
    """Added to the averaged gauge, refresh after refresh, over and over."""

    def counter(self, polls_ns: Sequence[int]) -> Seen:
        """Return µJ, in steps of one mJ."""
        return [(at, energy_uj(self.load, 0, self._shown(at, 0)) // 1000 * 1000) for at in polls_ns]

    def instant(self, polls_ns: Sequence[int]) -> Seen:
        """Return mW over the last part of each refresh."""
        shown = [(at, self._shown(at, self.phase_ns)) for at in polls_ns]
        return [(at, self._mean_mw(t, self.instant_ns)) for at, t in shown]

    def average(self, polls_ns: Sequence[int]) -> Seen:
        """Return mW over the trailing window."""
        rows = []
        for at in polls_ns:
            shown_ns = self._shown(at, self.phase_ns)
            noise_mw = self.noise_mw[shown_ns // self.refresh_ns % len(self.noise_mw)]
            mean_mw = self._mean_mw(shown_ns, self.averaging_ns)
            rows.append((at, mean_mw * (1_000_000 + self.gain_ppm) // 1_000_000 + noise_mw))
        return rows

    def _shown(self, at_ns: int, phase_ns: int) -> int:
        return (at_ns - phase_ns) // self.refresh_ns * self.refresh_ns + phase_ns

    def _mean_mw(self, end_ns: int, window_ns: int) -> int:
        energy = energy_uj(self.load, end_ns - window_ns, end_ns)
        return energy * 1_000_000 // window_ns
