"""Minutes of workloads as a host sends them."""

from __future__ import annotations

from chipwatt.core import coarse
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.model import Attribution
from chipwatt.core.records import Records, WorkloadWindow

CLASS = bytes(range(16))
LIMIT_MW = 400_000


def a_workload(
    number: int, minute: int, *, steps: int = 8, class_id: bytes = CLASS
) -> WorkloadWindow:
    """Return a window of workload ``number`` in a minute since 1970; 0 is the bucket."""
    return WorkloadWindow(
        workload_id=number.to_bytes(16),
        class_id=class_id if number else coarse.NOBODY,
        start_unix_ns=minute * 60 * NS_PER_S,
        duration_ns=coarse.WINDOW_NS,
        attribution=Attribution.EXACT,
        limit_mw=LIMIT_MW,
        energy_steps=steps,
        occupancy=(0, 0, 0, 16, 16, 0, 0, 0),
        swing_class=1,
    )


def a_minute(minute: int, *told: WorkloadWindow) -> Records:
    """Return a payload's records: these windows and as many empty rows as there have to be."""
    empty = WorkloadWindow(
        coarse.NOBODY, coarse.NOBODY, minute * 60 * NS_PER_S, coarse.WINDOW_NS,
        Attribution.EXACT, 0, 0, (0,) * coarse.POWER_CLASSES, 0,
    )  # fmt: skip
    return Records(workloads=(*told, *[empty] * (coarse.ROWS - len(told))))
