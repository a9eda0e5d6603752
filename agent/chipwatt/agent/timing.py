"""When a sensor's value is fresh, and what can therefore be said about it.

Two numbers decide everything. The *resolution* is the time between fresh
values as this agent sees them: the sensor's refresh or our polling period,
whichever is longer. The *uncertainty* is how far from its true moment the
change of a polled counter may be seen: it happened after the poll before, and
no longer ago than one refresh, so at most the shorter of the two. A gauge, or
a sensor that stamps its own samples, has none.

A mean over a span T taken from a polled counter is then wrong by at most
uncertainty / T, which is kept below 1/8 (RAPL at 1 kHz: 10 ms within 10 %,
100 ms within 1 %); a bump as long as T falls between samples unless several
of them lie inside, which asks for 4 resolutions of a counter, whose values
are means already spread out by interpolation, and 2 of a gauge; and a gauge
that is averaged over A says nothing about spans shorter than A.

The highest and lowest *level* are slopes of a line fitted through all changes in
a span L, not through its two ends: with n = L / resolution changes, each
wrong by up to the uncertainty u (uniform, so u / sqrt(12) in deviation), the slope's
relative deviation is u / (L sqrt(n)). The extreme of a window is that of hundreds
of spans, so L is chosen for 4.5 deviations in 2 %: L^1.5 = 225 u sqrt(resolution),
which is 37 ms for RAPL at 1 kHz and 80 ms at 100 Hz.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chipwatt.core.clock import NS_PER_MS, NS_PER_S

_UNKNOWN_RESOLUTION_NS = 100 * NS_PER_MS
"""Taken for tolerances until the resolution is known; slower firmware is rare."""
_WAIT_NS = 2 * NS_PER_S
_BRIDGE_NS = 30 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Timing:
    """What is known about the freshness of one sensor; 0 is not known."""

    counter: bool
    stamped: bool = False
    refresh_ns: int = 0
    averaging_ns: int = 0
    period_ns: int = 0
    resolution_ns: int = field(init=False, compare=False)
    """Time between fresh values as they are seen; 0 not known."""
    silence_ns: int = field(init=False, compare=False)
    """Without any answer for this long a sensor counts as silent, and nobody waits for it."""
    level_ns: int = field(init=False, compare=False)
    """Shortest time over which a power level is told apart from jitter; see above."""

    def __post_init__(self) -> None:
        """Work out once what is asked for all the time."""
        resolution_ns = max(self.refresh_ns, self.period_ns)
        silence_ns = max(_WAIT_NS, 3 * resolution_ns) if resolution_ns else _BRIDGE_NS
        object.__setattr__(self, "resolution_ns", resolution_ns)
        object.__setattr__(self, "silence_ns", silence_ns)
        jitter_ns: int = round((225 * self.uncertainty_ns * resolution_ns**0.5) ** (2 / 3))
        object.__setattr__(self, "level_ns", max(10 * NS_PER_MS, resolution_ns, jitter_ns))

    @property
    def uncertainty_ns(self) -> int:
        """How late the change of a polled counter may be seen."""
        if self.stamped or not self.counter:
            return 0
        if self.refresh_ns and self.period_ns:
            return min(self.refresh_ns, self.period_ns)
        return self.resolution_ns

    @property
    def allowed_ns(self) -> int:
        """Answers further apart than this leave the time between them uncovered."""
        if not self.resolution_ns:
            return self.silence_ns
        return max(20 * NS_PER_MS, 3 * self.resolution_ns)

    @property
    def stall_ns(self) -> int:
        """A counter that stands still for longer than this is behind with what it shows."""
        return max(NS_PER_S, 50 * self.resolution_ns) if self.resolution_ns else self.bridge_ns

    @property
    def bridge_ns(self) -> int:
        """Longest time that the trapezoid of a gauge may bridge; beyond, energy is unknown."""
        return max(_BRIDGE_NS, 10 * self.resolution_ns)

    @property
    def unseen_ns(self) -> int:
        """Time of energy that a counter may have counted before a reading but not yet shown."""
        return self.resolution_ns or _UNKNOWN_RESOLUTION_NS

    @property
    def slack_ns(self) -> int:
        """What is added to an interval before its energy is called impossible."""
        return max(50 * NS_PER_MS, 2 * self.unseen_ns)

    @property
    def swing_top_mhz(self) -> int:
        """Highest frequency that the samples carry, in millihertz, 20 Hz at most; 0 none."""
        if not self.resolution_ns:
            return 0
        top = min(20_000, 400 * NS_PER_S // self.resolution_ns)
        return min(top, 500 * NS_PER_S // self.averaging_ns) if self.averaging_ns else top

    def resolves(self, span_ns: int) -> bool:
        """Whether a mean over ``span_ns`` means something; see the module's text."""
        if not self.resolution_ns:
            return False
        least = max((4 if self.counter else 2) * self.resolution_ns, 8 * self.uncertainty_ns)
        return span_ns >= max(least, self.averaging_ns)
