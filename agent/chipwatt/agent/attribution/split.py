"""What a chip used, split among those who used it: whole microjoules that add up, with bounds.

Parts and the idle remainder are the chip's energy, to the µJ, whatever the method.

Held chips. A chip that one workload holds is all its own, idle power included:
exact. Of one that several hold, each gets by its share; nothing says what a share
really drew, so anything from nothing to all of it is within bounds.

CPU time. With E the energy of a time T and u the share of CPU time that was used,
idle energy is taken to be ``min(floor * T, E * (1 - u))``, where the floor is the
least power seen so far; the rest goes by CPU time. The bounds assume two things
alone: idle, a package draws no more than the floor; and nobody draws more than
the limit, nor anything while not running. So a workload with CPU time t had

    at least   E - floor * T - limit * min(T, CPU time of all others)
    at most    min(E, limit * min(T, t))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lcm
from typing import NamedTuple

from chipwatt.agent.attribution.workload_window import parts_of

_NS_MW_PER_UJ = 1_000_000


class Part(NamedTuple):
    """One workload's energy of one chip, in µJ."""

    energy_uj: int
    lower_uj: int
    upper_uj: int

    @property
    def exact(self) -> bool:
        """Whether it is measured rather than modelled."""
        return self.lower_uj == self.upper_uj


@dataclass(frozen=True, slots=True)
class Package:
    """What is known of a CPU over ``duration_ns``."""

    duration_ns: int
    capacity_ns: int
    """CPU time that there was: the duration, times the CPUs of the host."""
    busy_ns: int
    """CPU time that was used, by anybody."""
    floor_mw: int
    """Least power seen so far: idle, it draws no more."""
    limit_mw: int


def by_holding(energy_uj: int, shares: Sequence[tuple[int, int]]) -> tuple[list[Part], int]:
    """Split among holders of ``parts`` of ``of``; return their parts and the idle remainder.

    Where they hold more than the whole together, they take turns.
    """
    if len(shares) == 1 and shares[0][0] == shares[0][1]:
        return [Part(energy_uj, energy_uj, energy_uj)], 0
    whole = lcm(*(of for _, of in shares))
    weights = [parts * whole // of for parts, of in shares]
    *parts_uj, idle_uj = parts_of([*weights, max(0, whole - sum(weights))], energy_uj)
    return [Part(part_uj, 0, energy_uj) for part_uj in parts_uj], idle_uj


def by_cpu_time(
    energy_uj: int, package: Package, times_ns: Sequence[int]
) -> tuple[list[Part], int]:
    """Split by the CPU time of each workload; return their parts and the idle remainder.

    The remainder is also what those used who are bound to nobody.
    """
    duration_ns = package.duration_ns
    floor_uj = min(energy_uj, package.floor_mw * duration_ns // _NS_MW_PER_UJ)
    limit_pj = max(package.limit_mw * duration_ns, energy_uj * _NS_MW_PER_UJ)
    limit_mw = -(-limit_pj // duration_ns)
    busy_ns = max(package.busy_ns, sum(times_ns))
    unused_ns = max(0, package.capacity_ns - busy_ns)
    idle_uj = min(floor_uj, energy_uj * unused_ns // max(1, package.capacity_ns))
    weights = [*times_ns, busy_ns - sum(times_ns)]
    guesses = parts_of(weights, energy_uj - idle_uj) if busy_ns else [0] * len(weights)
    left_uj = energy_uj
    parts = []
    for time_ns, guess_uj in zip(times_ns, guesses, strict=False):
        most_uj = -(-limit_mw * min(duration_ns, time_ns) // _NS_MW_PER_UJ)
        others_uj = -(-limit_mw * min(duration_ns, busy_ns - time_ns) // _NS_MW_PER_UJ)
        upper_uj = min(energy_uj, most_uj)
        lower_uj = min(upper_uj, max(0, energy_uj - floor_uj - others_uj))
        part_uj = min(left_uj, max(lower_uj, min(upper_uj, guess_uj)))
        left_uj -= part_uj
        parts.append(Part(part_uj, min(lower_uj, part_uj), upper_uj))
    return parts, left_uj
