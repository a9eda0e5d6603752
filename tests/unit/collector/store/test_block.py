"""Blocks: every table comes back, every flipped bit is noticed."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from chipwatt.collector.store import block as block_module
from chipwatt.collector.store.block import BlockDamaged, decode, encode
from chipwatt.core.codec import tables_from_records
from chipwatt.core.columns import COLUMNS, SectionKind
from chipwatt.core.model import Method, Statistic
from chipwatt.core.rows import Rows, concatenate, take, values
from chipwatt.core.tables import row_values
from unit.collector.store.batches import FakeHost
from unit.collector.store.tables_strategy import rows, same


@settings(deadline=None)
@given(rows())
def test_every_table_comes_back(some: Rows) -> None:
    assert same(decode(encode(some)), some)


@settings(deadline=None)
@given(rows(SectionKind.DEVICE_WINDOW))
def test_a_block_from_before_statistics_comes_back_with_them(some: Rows) -> None:
    """Its bitmap of columns lacks the new one, which is one byte a row among the last."""
    with pytest.MonkeyPatch.context() as patch:
        specs = tuple(s for s in COLUMNS[SectionKind.DEVICE_WINDOW] if s.name != "statistic")
        patch.setitem(COLUMNS, SectionKind.DEVICE_WINDOW, specs)
        block_module._all_columns.cache_clear()
        block_module._layout.cache_clear()
        old = encode(some)
    block_module._all_columns.cache_clear()
    block_module._layout.cache_clear()
    found = decode(old).table
    gauge = some.table["method"] == Method.INTEGRATED
    average = gauge & (some.table["averaging_us"] > 0)
    expected = np.where(average, Statistic.AVERAGE, np.where(gauge, Statistic.INSTANT, 1))
    assert np.array_equal(found["statistic"], expected)
    assert np.array_equal(found["energy_uj"], some.table["energy_uj"])


@settings(deadline=None)
@given(rows(SectionKind.DEVICE_WINDOW), st.data())
def test_rows_are_taken_and_joined_as_rows(some: Rows, data: st.DataObject) -> None:
    order = np.array(data.draw(st.permutations(range(len(some)))), dtype=np.int64)
    expected = [row_values(some.table, int(i)) for i in order]
    for row in expected:
        del row["device"]
    assert list(values(take(some, order))) == expected
    cut = data.draw(st.integers(0, len(some)))
    assert same(
        concatenate([take(some, np.arange(cut)), take(some, np.arange(cut, len(some)))]), some
    )


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damage_is_noticed(data: st.DataObject) -> None:
    table = tables_from_records(FakeHost(1).records())[SectionKind.DEVICE_WINDOW]
    some = Rows(np.zeros(table.rows, "<u4"), table)
    block = bytearray(encode(some))
    cut = data.draw(st.booleans())
    at = data.draw(st.integers(0, len(block) - 1))
    if cut:
        del block[at:]
    else:
        block[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = decode(bytes(block))
    except BlockDamaged:
        return
    # A bit of zstd's own header may change without a consequence, a value never.
    assert same(found, some)


def test_a_column_that_a_block_lacks_comes_back_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    table = tables_from_records(FakeHost(1).records())[SectionKind.HOST_SECOND]
    block = encode(Rows(np.zeros(table.rows, "<u4"), table))
    missing = ("heard", "cpu_peak_mw")
    monkeypatch.setattr(
        "chipwatt.collector.store.block._all_columns",
        lambda kind: sum(1 << s.id for s in COLUMNS[kind] if s.name not in missing),
    )
    smaller = decode(encode(Rows(np.zeros(table.rows, "<u4"), table)))
    assert smaller.table["heard"].tolist() == [0] * table.rows
    assert {row["cpu_peak_mw"] for row in values(smaller)} == {None}
    assert decode(block).table["heard"].tolist() == table["heard"].tolist()
