"""All rows of the matrix, in order; importing a module of rows is what registers them."""

from __future__ import annotations

from e2e.faults import (
    certificates,
    clocks,
    clones,
    damage,
    disks,
    exporters,
    kills,
    limits,
    net,
    order,
    outages,
    sensors,
    skew,
)
from e2e.faults.rows import ROWS, Row

MODULES = (
    kills, outages, disks, net, exporters, order, clocks, skew, damage, clones, certificates,
    sensors, limits,
)  # fmt: skip


def rows() -> list[Row]:
    """Return every test, by row."""
    return sorted(ROWS, key=lambda row: row.number)
