"""Columns in memory: one numpy array a column, checked against the column table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chipwatt.core import coarse
from chipwatt.core.columns import COLUMNS, MAX_ROWS, ColumnSpec, SectionKind
from chipwatt.core.errors import InvalidPayload
from chipwatt.core.model import Method, Statistic

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Table:
    """One section: equally long columns, ragged ones apart."""

    kind: SectionKind
    rows: int
    columns: Mapping[str, Array]

    def __getitem__(self, name: str) -> Array:
        """Return the column ``name``."""
        return self.columns[name]

    def ragged_bounds(self, count_column: str) -> Array:
        """Return ``rows + 1`` offsets: row i owns ``values[bounds[i]:bounds[i + 1]]``."""
        bounds = np.zeros(self.rows + 1, dtype=np.int64)
        np.cumsum(self.columns[count_column], dtype=np.int64, out=bounds[1:])
        return bounds


Tables = Mapping[SectionKind, Table]
OCCUPANCY = tuple(f"occupancy_{k}" for k in range(coarse.POWER_CLASSES))
"""Columns of WORKLOAD, lowest power first."""


def table_from_rows(kind: SectionKind, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Build a table from one mapping a row; None becomes the column's absent value.

    Raises InvalidPayload where a value does not fit its column.
    """
    columns: dict[str, Array] = {}
    for spec in COLUMNS[kind]:
        values: list[int] = []
        for row in rows:
            value = row[spec.name]
            if spec.ragged_by:
                values.extend(value)
            else:
                values.append(spec.absent_value if value is None else value)
        try:
            columns[spec.name] = np.array(values, dtype=spec.dtype)
        except (OverflowError, TypeError, ValueError) as error:
            raise InvalidPayload(f"{kind.name}.{spec.name}: {error}") from None
    table = Table(kind, len(rows), columns)
    check_table(table)
    return table


def row_values(table: Table, index: int) -> dict[str, Any]:
    """Return row ``index`` as Python integers; the absent value becomes None."""
    row: dict[str, Any] = {}
    for spec in COLUMNS[table.kind]:
        column = table.columns[spec.name]
        if spec.ragged_by:
            bounds = table.ragged_bounds(spec.ragged_by)
            row[spec.name] = tuple(column[bounds[index] : bounds[index + 1]].tolist())
            continue
        value = int(column[index])
        row[spec.name] = None if spec.absent and value == spec.absent_value else value
    return row


FILLED = "statistic"
"""The column that came later: where what was written before it lacks it, ``filled`` gives it."""


def filled(rows: int, columns: Mapping[str, Array]) -> Array:
    """Return ``statistic`` as those who wrote the other ``columns`` would have filled it.

    They had one sensor a domain, and energy came from a counter or a gauge. A gap
    does not say from which; it counts as a counter's.
    """
    statistic = np.full(rows, Statistic.ENERGY, dtype="<u1")
    if "method" in columns:
        gauge = columns["method"] == Method.INTEGRATED
        averaged = columns["averaging_us"] > 0
        statistic[gauge] = Statistic.INSTANT
        statistic[gauge & averaged] = Statistic.AVERAGE
    return statistic


def check_table(table: Table) -> None:
    """Check lengths, ranges and ragged sums as wholes.

    Raises InvalidPayload that names section and column.
    """
    if table.rows > MAX_ROWS:
        raise InvalidPayload(f"{table.kind.name}: {table.rows} rows, at most {MAX_ROWS} allowed")
    for spec in COLUMNS[table.kind]:
        column = table.columns.get(spec.name)
        where = f"{table.kind.name}.{spec.name}"
        if column is None:
            raise InvalidPayload(f"{where}: the column is missing")
        expected = (
            int(table.columns[spec.ragged_by].sum(dtype=np.int64)) if spec.ragged_by else table.rows
        )
        if len(column) != expected:
            raise InvalidPayload(f"{where}: {len(column)} values, {expected} expected")
        if expected:
            _check_range(where, spec, column)


def _check_range(where: str, spec: ColumnSpec, column: Array) -> None:
    present = column[column != spec.absent_value] if spec.absent else column
    if not len(present):
        return
    low, high = int(present.min()), int(present.max())
    if low < spec.low or high > spec.high:
        raise InvalidPayload(
            f"{where}: {low}..{high} {spec.unit} is outside {spec.low}..{spec.high}"
        )


def check_tables(tables: Tables) -> None:
    """Check what only several sections together show.

    Raises InvalidPayload where a device has both a uid and an ordinal, where a
    row points to a device that is not there, where a window's energy exceeds
    its cumulative energy, where a gap's bounds are upside down, or where windows
    of workloads are not of their fixed number and shape.
    """
    named = tables.get(SectionKind.DEVICE)
    devices = 0 if named is None else named.rows
    if named is not None:
        with_uid = (named["uid_high"] != 0) | (named["uid_low"] != 0)
        if bool((with_uid & (named["ordinal"] != 0)).any()):
            raise InvalidPayload("DEVICE.ordinal: not 0 beside a uid")
    for kind in (SectionKind.DEVICE_WINDOW, SectionKind.GAP, SectionKind.SENSOR):
        table = tables.get(kind)
        if table is not None and table.rows and int(table["device"].max()) >= devices:
            raise InvalidPayload(f"{kind.name}.device: points past the {devices} devices given")
    windows = tables.get(SectionKind.DEVICE_WINDOW)
    if windows is not None and bool((windows["energy_uj"] > windows["cumulative_uj"]).any()):
        raise InvalidPayload("DEVICE_WINDOW.energy_uj: larger than the cumulative energy")
    gaps = tables.get(SectionKind.GAP)
    if gaps is not None and bool((gaps["lower_uj"] > gaps["upper_uj"]).any()):
        raise InvalidPayload("GAP.lower_uj: above the upper bound")
    workloads = tables.get(SectionKind.WORKLOAD)
    if workloads is not None:
        _check_workloads(workloads)


def _check_workloads(table: Table) -> None:
    """Refuse what a workload's windows could say more by than they may."""
    if table.rows % coarse.ROWS:
        raise InvalidPayload(f"WORKLOAD: {table.rows} rows, a multiple of {coarse.ROWS} expected")
    is_told = table["limit_mw"] > 0
    parts = np.sum([table[name] for name in OCCUPANCY], axis=0, dtype=np.int64)
    if bool(np.any(parts != np.where(is_told, coarse.OCCUPANCY_PARTS, 0))):
        raise InvalidPayload(f"WORKLOAD.occupancy_0: no {coarse.OCCUPANCY_PARTS} parts in all")
    for name in ("workload_high", "workload_low", "class_high", "class_low", "energy_steps"):
        if bool(table[name][~is_told].any()):
            raise InvalidPayload(f"WORKLOAD.{name}: not 0 in a row that stands for nobody")
