"""Which of a site's factors hold when, and what they say of carbon over a window."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from chipwatt.v1 import placement_pb2 as pb


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a window in which one set of factors holds."""

    start_unix_ns: int
    end_unix_ns: int
    factors: pb.SiteFactors
    """As they were given."""

    @property
    def duration_ns(self) -> int:
        """Return how long it is."""
        return self.end_unix_ns - self.start_unix_ns

    @property
    def carbon_mg_per_kwh(self) -> float:
        """Return the mean carbon intensity over it."""
        return carbon_mg_per_kwh(self.factors, self.start_unix_ns, self.end_unix_ns)

    def message(self) -> pb.SiteFactors:
        """Return the factors cut to it: carbon at its start, and the forecast's steps within."""
        cut = pb.SiteFactors()
        cut.CopyFrom(self.factors)
        cut.valid_from_unix_ns, cut.valid_until_unix_ns = self.start_unix_ns, self.end_unix_ns
        cut.carbon_mg_per_kwh = carbon_at(self.factors, self.start_unix_ns)
        del cut.carbon_forecast[:]
        cut.carbon_forecast.extend(
            step
            for step in self.factors.carbon_forecast
            if self.start_unix_ns < step.start_unix_ns < self.end_unix_ns
        )
        return cut


def holding(sets: Sequence[pb.SiteFactors], at_unix_ns: int) -> pb.SiteFactors | None:
    """Return what holds at a time: of those not over, what began last. ``sets`` are in order."""
    for factors in reversed(sets):
        if factors.valid_from_unix_ns <= at_unix_ns and not has_ended(factors, at_unix_ns):
            return factors
    return None


def has_ended(factors: pb.SiteFactors, at_unix_ns: int) -> bool:
    """Return whether the factors' window is over by then."""
    return 0 < factors.valid_until_unix_ns <= at_unix_ns


def stretches(
    sets: Sequence[pb.SiteFactors], start_unix_ns: int, end_unix_ns: int
) -> list[Stretch]:
    """Return what holds in [start, end), in order; where nothing does there is none."""
    times = {t for f in sets for t in (f.valid_from_unix_ns, f.valid_until_unix_ns)}
    inside = {t for t in times if start_unix_ns < t < end_unix_ns}
    found: list[Stretch] = []
    for start, end in pairwise(sorted({start_unix_ns, end_unix_ns, *inside})):
        factors = holding(sets, start)
        if factors is None:
            continue
        if found and found[-1].factors is factors and found[-1].end_unix_ns == start:
            found[-1] = replace(found[-1], end_unix_ns=end)
        else:
            found.append(Stretch(start, end, factors))
    return found


def mean_carbon(parts: Sequence[Stretch]) -> float:
    """Return the mean carbon intensity in mg a kWh over at least one stretch."""
    total = sum(part.carbon_mg_per_kwh * part.duration_ns for part in parts)
    return total / sum(part.duration_ns for part in parts)


def carbon_at(factors: pb.SiteFactors, at_unix_ns: int) -> int:
    """Return the carbon intensity that the forecast gives a time, in mg a kWh."""
    steps = factors.carbon_forecast
    begun = bisect_right(steps, at_unix_ns, key=lambda step: step.start_unix_ns)
    return steps[begun - 1].carbon_mg_per_kwh if begun else factors.carbon_mg_per_kwh


def carbon_mg_per_kwh(factors: pb.SiteFactors, start_unix_ns: int, end_unix_ns: int) -> float:
    """Return the mean carbon intensity over a time; each step of the forecast lasts to the next."""
    steps = [(0, factors.carbon_mg_per_kwh)]
    steps += [(step.start_unix_ns, step.carbon_mg_per_kwh) for step in factors.carbon_forecast]
    ends = [start for start, _ in steps[1:]] + [end_unix_ns]
    total = 0
    for (start, carbon), end in zip(steps, ends, strict=True):
        total += carbon * max(0, min(end, end_unix_ns) - max(start, start_unix_ns))
    return total / (end_unix_ns - start_unix_ns)
