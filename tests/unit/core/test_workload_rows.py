from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.core import coarse
from chipwatt.core.coarsen import coarsen
from chipwatt.core.codec import decode_tables, encode_records, encode_tables, records_from_tables
from chipwatt.core.columns import COLUMNS, SectionKind
from chipwatt.core.errors import InvalidPayload
from chipwatt.core.model import Attribution
from chipwatt.core.records import Records, WorkloadWindow
from chipwatt.core.tables import Table

START = 1_800_000_000_000_000_000
IDS = st.binary(min_size=16, max_size=16)
ROW = st.builds(
    lambda who, kind, limit, steps, at, swing: WorkloadWindow(
        workload_id=who,
        class_id=kind,
        start_unix_ns=START,
        duration_ns=coarse.WINDOW_NS,
        attribution=Attribution.MODELLED,
        limit_mw=limit,
        energy_steps=steps,
        occupancy=tuple(32 * (k == at) for k in range(8)),
        swing_class=swing,
    ),
    IDS,
    IDS,
    st.integers(1, 10**7),
    st.integers(0, coarse.MAX_STEPS),
    st.integers(0, 7),
    st.integers(0, 3),
)
EMPTY = WorkloadWindow(
    bytes(16), bytes(16), START, coarse.WINDOW_NS, Attribution.EXACT, 0, 0, (0,) * 8, 0
)


def minute(told: list[WorkloadWindow]) -> tuple[WorkloadWindow, ...]:
    return (*told, *[EMPTY] * (coarse.ROWS - len(told)))


@given(st.lists(ROW, max_size=coarse.ROWS))
def test_every_minute_is_as_long_and_comes_back_whole(told: list[WorkloadWindow]) -> None:
    records = Records(workloads=minute(told))
    payload = encode_records(records)
    assert len(payload) == len(encode_records(Records(workloads=minute([]))))
    assert records_from_tables(decode_tables(payload)) == records


def test_a_payload_of_coarser_windows_keeps_every_minute() -> None:
    payloads = [encode_records(Records(workloads=minute([]))) for _ in range(10)]
    (merged,) = coarsen(payloads, 10 * coarse.WINDOW_NS)
    assert merged.replaces == 10
    assert len(records_from_tables(decode_tables(merged.payload)).workloads) == 10 * coarse.ROWS


def changed(column: str, value: int, row: int = 0) -> bytes:
    told = WorkloadWindow(
        bytes([1] * 16), bytes(16), START, coarse.WINDOW_NS, Attribution.EXACT, 9,
        1, (32, 0, 0, 0, 0, 0, 0, 0), 0,
    )  # fmt: skip
    table = decode_tables(encode_records(Records(workloads=minute([told]))))[SectionKind.WORKLOAD]
    columns = {name: values.copy() for name, values in table.columns.items()}
    columns[column][row] = value
    return encode_tables({SectionKind.WORKLOAD: Table(table.kind, table.rows, columns)})


@pytest.mark.parametrize(
    ("column", "value", "row"),
    [
        ("occupancy_1", 1, 0),
        ("occupancy_0", 32, 1),
        ("energy_steps", coarse.MAX_STEPS + 1, 0),
        ("energy_steps", 1, 1),
        ("swing_class", 4, 0),
        ("duration_ns", coarse.WINDOW_NS - 1, 0),
        ("attribution", 0, 0),
        ("workload_low", 5, 1),
        ("limit_mw", 0, 0),
    ],
)
def test_a_window_that_says_more_than_it_may_is_refused(column: str, value: int, row: int) -> None:
    with pytest.raises(InvalidPayload, match=r"WORKLOAD\."):
        decode_tables(changed(column, value, row))


def test_fewer_rows_are_refused() -> None:
    with pytest.raises(InvalidPayload, match="64 rows, a multiple of 65 expected"):
        decode_tables(encode_records(Records(workloads=minute([])[1:])))


def test_the_declared_ranges_allow_no_more_than_thirty_bits() -> None:
    said = {"energy_steps": coarse.MAX_STEPS, "swing_class": coarse.MAX_SWING}
    specs = {spec.name: spec for spec in COLUMNS[SectionKind.WORKLOAD]}
    assert {name: specs[name].high for name in said} == said
    assert {name for name in specs if name.startswith("occupancy")} == {
        f"occupancy_{k}" for k in range(8)
    }
    assert coarse.bits_a_window() <= 30
