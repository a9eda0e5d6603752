"""Windows of workloads as rows of their table and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chipwatt.core.model import Attribution
from chipwatt.core.records import WorkloadWindow
from chipwatt.core.tables import OCCUPANCY

_PLAIN = ("start_unix_ns", "duration_ns", "limit_mw", "energy_steps", "swing_class")
_LOW_64 = (1 << 64) - 1


def workload_from_row(row: Mapping[str, Any]) -> WorkloadWindow:
    """Build a workload's window from one row of a WORKLOAD table."""
    values = {name: row[name] for name in _PLAIN}
    return WorkloadWindow(
        workload_id=_id_bytes(row["workload_high"], row["workload_low"]),
        class_id=_id_bytes(row["class_high"], row["class_low"]),
        attribution=Attribution(row["attribution"]),
        occupancy=tuple(row[name] for name in OCCUPANCY),
        **values,
    )


def _id_bytes(high: int, low: int) -> bytes:
    return ((high << 64) | low).to_bytes(16)


def workload_row(window: WorkloadWindow) -> dict[str, int]:
    """Return a window as a row of a WORKLOAD table."""
    workload, kind = int.from_bytes(window.workload_id), int.from_bytes(window.class_id)
    return {
        "workload_high": workload >> 64,
        "workload_low": workload & _LOW_64,
        "class_high": kind >> 64,
        "class_low": kind & _LOW_64,
        "attribution": window.attribution,
        **dict(zip(OCCUPANCY, window.occupancy, strict=True)),
        **{name: getattr(window, name) for name in _PLAIN},
    }
