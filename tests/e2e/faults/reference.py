"""The reference ledger: invariants I1 to I4 over plain integers, knowing nothing of our code."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple

Key = tuple[bytes, bytes, int, int]  # host, boot, spool epoch, sequence of a record


class Window(NamedTuple):
    counter: str  # "host device domain statistic"
    start_ns: int
    end_ns: int
    epoch: int
    energy_uj: int
    cumulative_uj: int


class Gap(NamedTuple):
    counter: str
    lower_uj: int
    upper_uj: int


def lost(seen: Iterable[Key], kept: Iterable[Key]) -> list[Key]:
    """I1: records that were seen, or must lie before one that was, and are nowhere."""
    kept = set(kept)
    last: dict[tuple[bytes, bytes, int], int] = {}
    for key in kept.union(seen):
        last[key[:3]] = max(last.get(key[:3], 0), key[3])
    return sorted({(*s, number) for s, end in last.items() for number in range(1, end + 1)} - kept)


def faults(windows: Collection[Window], gaps: Iterable[Gap], truth: Mapping[str, int]) -> list[str]:
    """I2, I3, I4: what contradicts the truth (µJ), the sums of an epoch, or itself."""
    found = []
    low, open_uj, holes = defaultdict[str, int](int), defaultdict[str, int](int), dict[str, int]()
    lines = defaultdict[tuple[str, int], list[Window]](list)
    for window in windows:
        lines[window.counter, window.epoch].append(window)
        low[window.counter] += window.energy_uj
    for (counter, _), line in lines.items():
        for one, two in pairwise(sorted(line, key=lambda window: window.start_ns)):
            hole_uj = two.cumulative_uj - two.energy_uj - one.cumulative_uj
            holes[counter] = holes.get(counter, 0) + hole_uj
            if hole_uj < 0 or two.start_ns < one.end_ns:
                found.append(f"I2 counted twice: {one} and {two}")
    for gap in gaps:
        found += [f"I4 no bounds: {gap}"] * (not 0 <= gap.lower_uj <= gap.upper_uj)
        low[gap.counter] += gap.lower_uj
        open_uj[gap.counter] += gap.upper_uj - gap.lower_uj
        holes[gap.counter] = holes.get(gap.counter, 0) - gap.upper_uj
    found += [f"I3 {name}: a hole of {uj} µJ and no gap" for name, uj in holes.items() if uj > 0]
    for counter, true_uj in truth.items():
        if not 0 <= true_uj - low[counter] <= open_uj[counter]:
            found.append(f"I3 I4 {counter}: {low[counter]} + {open_uj[counter]}, true {true_uj}")
    return found
