"""Rows of one kind with the dictionary number of whom they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipwatt.core.columns import COLUMNS, SectionKind
from chipwatt.core.tables import Array, Table

KEPT = (SectionKind.HOST_SECOND, SectionKind.DEVICE_WINDOW, SectionKind.GAP)
"""Kinds that are kept as history; of the others only the newest is."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of one kind."""

    owners: Array
    """Per row: number of the device, for host seconds of the host."""
    table: Table
    """The columns; its own ``device`` column means nothing here."""

    @property
    def kind(self) -> SectionKind:
        """What the rows are."""
        return self.table.kind

    def __len__(self) -> int:
        return self.table.rows


def concatenate(parts: Sequence[Rows]) -> Rows:
    """Join rows of one kind, in order."""
    if len(parts) == 1:
        return parts[0]
    kind = parts[0].kind
    columns = {
        spec.name: np.concatenate([part.table.columns[spec.name] for part in parts])
        for spec in COLUMNS[kind]
    }
    owners = np.concatenate([part.owners for part in parts])
    return Rows(owners, Table(kind, len(owners), columns))


def take(rows: Rows, index: Array) -> Rows:
    """Return the rows at ``index`` (positions or a mask), in that order."""
    if index.dtype == np.bool_:
        index = np.flatnonzero(index)
    columns: dict[str, Array] = {}
    for spec in COLUMNS[rows.kind]:
        column = rows.table.columns[spec.name]
        columns[spec.name] = (
            _take_ragged(column, rows.table.ragged_bounds(spec.ragged_by), index)
            if spec.ragged_by
            else column[index]
        )
    return Rows(rows.owners[index], Table(rows.kind, len(index), columns))


def _take_ragged(values: Array, bounds: Array, index: Array) -> Array:
    lengths = bounds[index + 1] - bounds[index]
    ends = np.cumsum(lengths)
    within = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    taken: Array = values[np.repeat(bounds[index], lengths) + within]
    return taken


def values(rows: Rows) -> Iterator[dict[str, Any]]:
    """Yield each row as ``core.tables.row_values`` has it, without its ``device``."""
    lists: dict[str, Sequence[Any]] = {}
    for spec in COLUMNS[rows.kind]:
        if spec.name == "device":
            continue
        column = rows.table.columns[spec.name].tolist()
        if spec.ragged_by:
            bounds = rows.table.ragged_bounds(spec.ragged_by).tolist()
            column = [tuple(column[bounds[i] : bounds[i + 1]]) for i in range(len(rows))]
        elif spec.absent:
            absent = spec.absent_value
            column = [None if value == absent else value for value in column]
        lists[spec.name] = column
    names = tuple(lists)
    for row in zip(*lists.values(), strict=True):
        yield dict(zip(names, row, strict=True))
