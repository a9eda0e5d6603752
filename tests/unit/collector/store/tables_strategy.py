"""Any table that the column table allows, as a Hypothesis strategy."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from hypothesis.extra.numpy import arrays

from chipwatt.core.columns import COLUMNS, ColumnSpec, SectionKind
from chipwatt.core.rows import KEPT, Rows
from chipwatt.core.tables import Array, Table


def column(spec: ColumnSpec, count: int) -> st.SearchStrategy[Array]:
    inside = st.integers(spec.low, spec.high)
    one = st.one_of(inside, st.just(spec.absent_value)) if spec.absent else inside
    return arrays(np.dtype(spec.dtype), count, elements=one)


@st.composite
def rows(draw: st.DrawFn, kind: SectionKind | None = None) -> Rows:
    kind = draw(st.sampled_from(KEPT)) if kind is None else kind
    count = draw(st.integers(0, 6))
    columns: dict[str, Array] = {}
    for spec in COLUMNS[kind]:
        if spec.name == "device":
            columns[spec.name] = np.zeros(count, spec.dtype)
        elif spec.ragged_by:
            total = int(columns[spec.ragged_by].sum())
            columns[spec.name] = draw(column(spec, total))
        else:
            columns[spec.name] = draw(column(spec, count))
    owners = draw(arrays(np.dtype("<u4"), count))
    return Rows(owners, Table(kind, count, columns))


def same(first: Rows, second: Rows) -> bool:
    return (
        first.kind is second.kind
        and len(first) == len(second)
        and np.array_equal(first.owners, second.owners)
        and all(
            np.array_equal(first.table[spec.name], second.table[spec.name])
            and first.table[spec.name].dtype == np.dtype(spec.dtype)
            for spec in COLUMNS[first.kind]
            if spec.name != "device"
        )
    )
