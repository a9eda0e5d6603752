"""Windows of one workload with noise of differential privacy, in integers from end to end.

Released is, of five windows together, how much of the time power was at or above each
eighth of the limit: seven counts of 1/32 of a minute. The host rounds each of them by
edges that do not depend on the power (``attribution.dither``), so whatever changes
within one second (``TAU_NS``; 1.1 s with the tenths of a second that it touches, of at
least 57 s that were seen) moves none by more than one, and where it straddles two
windows none by more than one in each: 14 in all, wherever it lies. Discrete Laplace
noise of that scale makes a release ``EPSILON``-differentially private, and an event
that straddles two releases costs no more, for its 14 are then split between them.

Energy is not released: the host rounds it over a workload's life, so that one event
would move windows long after it. Mean power follows from the counts. No count is cut
to what is possible, since the mean of many releases would then no longer be the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from chipwatt.core import coarse
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.errors import ConfigError
from chipwatt.core.records import WorkloadWindow

EPSILON: Final = 1
TAU_NS: Final = NS_PER_S
WINDOWS: Final = 5
"""In one release: no workload is shown by fewer windows."""
EDGES: Final = coarse.POWER_CLASSES - 1
SENSITIVITY: Final = 2 * EDGES
PARTS: Final = WINDOWS * coarse.OCCUPANCY_PARTS
Noise = Callable[[Sequence[int]], list[int]]
"""Takes counts, gives them with noise."""


@dataclass(frozen=True, slots=True)
class Release:
    """Five minutes of one workload as whoever is outside may see them."""

    workload_id: bytes
    class_id: bytes
    start_unix_ns: int
    end_unix_ns: int
    limit_mw: int
    above: tuple[int, ...]
    """160ths of the time at or above each eighth of ``limit_mw``, lowest first; with noise, so
    below 0 or above 160 at times."""

    @property
    def mean_mw(self) -> int:
        """Return the mean power, each eighth taken at its middle; with noise."""
        return self.limit_mw * (2 * sum(self.above) + PARTS) // (2 * coarse.POWER_CLASSES * PARTS)


def discrete_laplace() -> Noise:
    """Return OpenDP's discrete Laplace noise, checked to spend no more than ``EPSILON``.

    Raises ConfigError where the extra ``dp`` is not installed.
    """
    try:
        import opendp.prelude as dp
    except ImportError:
        raise ConfigError(
            "privacy.egress = \"dp\" needs the extra `dp`: pip install 'chipwatt[dp]'"
        ) from None
    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l1_distance(T="i64")
    measurement = dp.m.make_laplace(*space, scale=SENSITIVITY / EPSILON)
    spent: float = measurement.map(SENSITIVITY)  # type: ignore[no-untyped-call]
    if spent > EPSILON:
        raise ConfigError(f"this OpenDP spends epsilon {spent} where {EPSILON} was asked for")

    def noise(counts: Sequence[int]) -> list[int]:
        return [int(each) for each in measurement(list(counts))]

    return noise


def counts_above(windows: Sequence[WorkloadWindow]) -> list[int]:
    """Return the parts of the time at or above each eighth of the limit, lowest first."""
    together = [sum(parts) for parts in zip(*(w.occupancy for w in windows), strict=True)]
    return list(accumulate(reversed(together[1:])))[::-1]


def release(windows: Sequence[WorkloadWindow], noise: Noise) -> Release:
    """Return five windows of one workload with noise; raises ValueError for anything else."""
    first = windows[0]
    same = {(each.workload_id, each.class_id, each.limit_mw) for each in windows}
    if len(windows) != WINDOWS or len(same) > 1:
        raise ValueError(f"a release is of {WINDOWS} windows of one workload under one limit")
    return Release(
        first.workload_id,
        first.class_id,
        min(each.start_unix_ns for each in windows),
        max(each.start_unix_ns + each.duration_ns for each in windows),
        first.limit_mw,
        tuple(noise(counts_above(windows))),
    )
