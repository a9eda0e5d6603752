"""Writes what ``player.h`` plays, and knows its truth exactly.

A load is a list of (t_ns, power_mw) points, linear in between; two points at one
time are a step. The truth is the same integral that the fake computes.
"""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NS_PER_S = 1_000_000_000
Point = tuple[int, int]


@dataclass(frozen=True, slots=True)
class FakeDevice:
    """One device of a fake library: its load, its settings as numbers and as text."""

    name: str
    load: Sequence[Point]
    numbers: Mapping[str, int] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


def write_scenario(
    folder: Path, devices: Sequence[FakeDevice], start_mono_ns: int | None = None
) -> int:
    """Write ``scenario`` and the traces into ``folder``; return time zero (monotonic ns)."""
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic_ns() if start_mono_ns is None else start_mono_ns
    lines = [f"start_mono_ns {start}"]
    for number, device in enumerate(devices):
        name = f"trace-{number}.bin"
        points = b"".join(struct.pack("<qq", *point) for point in device.load)
        (folder / name).write_bytes(points)
        lines += [f"device {device.name}", f"trace {name}"]
        lines += [f"{key} {value}" for key, value in device.numbers.items()]
        lines += [f"text {key} {value}" for key, value in device.texts.items()]
    scratch = folder / "scenario.new"
    scratch.write_text("\n".join(lines) + "\n")
    scratch.replace(folder / "scenario")
    return start


def energy_uj(load: Sequence[Point], start_ns: int, end_ns: int) -> int:
    """Return the exact energy of a load between two times, rounded down to µJ."""
    return (_twice(load, end_ns) - _twice(load, start_ns)) // 2_000_000


def _twice(load: Sequence[Point], until_ns: int) -> int:
    total = 0
    for (t0, p0), (t1, p1) in itertools.pairwise(load):
        if until_ns <= t0:
            return total
        if until_ns < t1:
            dt = until_ns - t0
            return total + 2 * p0 * dt + (p1 - p0) * dt * dt // (t1 - t0)
        total += (p0 + p1) * (t1 - t0)
    last_t, last_p = load[-1]
    return total + 2 * last_p * max(0, until_ns - last_t)


def steady(power_mw: int) -> list[Point]:
    """Return a load that never changes."""
    return [(0, power_mw), (3600 * NS_PER_S, power_mw)]


def square(low_mw: int, high_mw: int, period_ns: int, seconds: int = 600) -> list[Point]:
    """Return a square wave that starts low, half of each period at each level."""
    points = []
    for k in range(2 * seconds * NS_PER_S // period_ns):
        level = high_mw if k % 2 else low_mw
        points += [(k * period_ns // 2, level), ((k + 1) * period_ns // 2, level)]
    return points


def ramp(from_mw: int, to_mw: int, over_ns: int) -> list[Point]:
    """Return a straight line that then stays."""
    return [(0, from_mw), (over_ns, to_mw), (over_ns + 3600 * NS_PER_S, to_mw)]
