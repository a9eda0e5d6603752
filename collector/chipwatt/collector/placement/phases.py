"""What the sums of a workload class say: levels, phases, swing, duty, coincidence.

Firmware does not say what a chip works on. Phases are told from levels as they were
measured: of serving, prefill draws two thirds of the limit and more and decode two
fifths (Splitwise, ISCA 2024), an idle chip at full clock a fifth; a class that swings
or hardly ever leaves its upper classes trains, high while it computes and low while it
communicates. They are names for levels, and a placement does not depend on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from chipwatt.collector.placement.class_sums import POWER_CLASSES, ClassSums
from chipwatt.collector.placement.topology import WHOLE_PPM

_IDLE_CLASSES = 2
"""Up to a quarter of the limit."""
_PREFILL_FROM = 5
"""Class from 5/8 of the limit."""
_STEADY_PPM = 750_000
"""Share of the busy time in the upper classes from which on a class trains."""
_SWINGING = 2


class Phase(IntEnum):
    """Numbers equal those of ``chipwatt.v1.Phase``."""

    IDLE = 1
    PREFILL = 2
    DECODE = 3
    TRAIN_COMPUTE = 4
    TRAIN_COMM = 5


@dataclass(frozen=True, slots=True)
class PhaseLevel:
    """One level of power that a class returns to."""

    phase: Phase
    level_mw: int
    share_ppm: int


@dataclass(frozen=True, slots=True)
class ClassProfile:
    """What one workload of a class draws on one model of hardware; "": on all together."""

    class_id: bytes
    hw_class: str
    windows: int
    last_seen_unix_ns: int
    mean_mw: int
    p50_mw: int
    """Upper edge of the class that holds the quantile, as p99 and peak."""
    p99_mw: int
    peak_mw: int
    phases: tuple[PhaseLevel, ...]
    """Lowest first."""
    swing_class: int
    duty_ppm: int
    coincidence_ppm: int
    """Means of a minute; in phase where two were never seen at once."""
    occupancy_ppm: tuple[int, ...]
    """Sums to a million."""
    peaks: tuple[tuple[int, int], ...]
    """Upper edges in mW, lowest first, and in how many minutes power went so far."""

    def peak_within_mw(self, horizon_s: int, quantile: float) -> int:
        """Return what one workload stays below for so long with at least this probability.

        The probability to be exceeded in any of the minutes is at most that of each of them
        together (Boole), whatever hangs together in time; the minute to come counts as one
        more that was above. Where too few were seen for that, the highest ever seen.
        """
        minutes = -(-horizon_s // 60)
        seen = sum(count for _, count in self.peaks)
        below = 0
        for edge_mw, count in self.peaks:
            below += count
            if minutes * (1.0 - below / (seen + 1)) <= 1.0 - quantile:
                return edge_mw
        return self.peak_mw


def profile_of(class_id: bytes, hw_class: str, sums: ClassSums) -> ClassProfile:
    """Return what at least one window says."""
    occupancy = _parts(sums.occupancy)
    used = [k for k, part in enumerate(sums.occupancy) if part]
    peak_mw = _edge_mw(sums, used[-1])
    together = sums.together_mw * WHOLE_PPM // sums.alone_mw if sums.alone_mw else 0
    # Energy comes in steps and classes in eighths: a mean above the peak says no more than it.
    mean_mw = min(sums.energy_uj * WHOLE_PPM // sums.duration_ns, peak_mw)
    swing_class = max(range(len(sums.swings)), key=lambda k: (sums.swings[k], k))
    return ClassProfile(
        class_id=class_id,
        hw_class=hw_class,
        windows=sums.windows,
        last_seen_unix_ns=sums.last_seen_unix_ns,
        mean_mw=mean_mw,
        p50_mw=_quantile_mw(sums, 500_000),
        p99_mw=_quantile_mw(sums, 990_000),
        peak_mw=peak_mw,
        phases=_phases(sums, occupancy, swing_class),
        swing_class=swing_class,
        duty_ppm=sum(occupancy[k] for k in used if 2 * k > used[0] + used[-1]) or _full(used),
        coincidence_ppm=min(together or WHOLE_PPM, WHOLE_PPM),
        occupancy_ppm=tuple(occupancy),
        peaks=tuple((_edge_mw(sums, k), count) for k, count in enumerate(sums.peaks) if count),
    )


def _full(used: list[int]) -> int:
    """Return the duty of a class that knows one level only: it is always there."""
    return WHOLE_PPM if len(used) == 1 else 0


def _phases(sums: ClassSums, occupancy: list[int], swing_class: int) -> tuple[PhaseLevel, ...]:
    busy = sum(occupancy[_IDLE_CLASSES:])
    high = sum(occupancy[_PREFILL_FROM:])
    steady = high * WHOLE_PPM >= _STEADY_PPM * busy
    busy_classes = [k for k in range(_IDLE_CLASSES, POWER_CLASSES) if occupancy[k]]
    middle = sum(busy_classes[:: max(1, len(busy_classes) - 1)]) / 2 if busy_classes else 0
    weights: dict[Phase, list[tuple[int, int]]] = {}
    for k, share in enumerate(occupancy):
        if share:
            if k < _IDLE_CLASSES:
                phase = Phase.IDLE
            elif swing_class >= _SWINGING:
                phase = Phase.TRAIN_COMPUTE if k >= middle else Phase.TRAIN_COMM
            elif steady:
                phase = Phase.TRAIN_COMPUTE if k >= _PREFILL_FROM else Phase.TRAIN_COMM
            else:
                phase = Phase.PREFILL if k >= _PREFILL_FROM else Phase.DECODE
            weights.setdefault(phase, []).append((2 * k + 1, share))
    levels = []
    for phase, classes in weights.items():
        share = sum(part for _, part in classes)
        eighths = sum(k * part for k, part in classes)
        levels.append(
            PhaseLevel(phase, sums.limit_mw * eighths // (2 * POWER_CLASSES * share), share)
        )
    return tuple(sorted(levels, key=lambda level: level.level_mw))


def _quantile_mw(sums: ClassSums, quantile_ppm: int) -> int:
    wanted, seen = sum(sums.occupancy) * quantile_ppm, 0
    for k, time in enumerate(sums.occupancy):
        seen += time
        if seen * WHOLE_PPM >= wanted and seen:
            return _edge_mw(sums, k)
    return _edge_mw(sums, POWER_CLASSES - 1)


def _edge_mw(sums: ClassSums, power_class: int) -> int:
    return -(-sums.limit_mw * (power_class + 1) // POWER_CLASSES)


def _parts(times: list[int]) -> list[int]:
    """Return shares that sum to a million: what rounding leaves goes to the largest rests."""
    total = sum(times)
    parts = [time * WHOLE_PPM // total for time in times]
    rests = sorted(range(len(times)), key=lambda k: (-(times[k] * WHOLE_PPM % total), k))
    for k in rests[: WHOLE_PPM - sum(parts)]:
        parts[k] += 1
    return parts
