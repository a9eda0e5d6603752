from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.query.paging import (
    DEFAULT_PAGE,
    MAX_PAGE,
    InvalidPage,
    Key,
    cut_to_bytes,
    decode_token,
    encode_token,
    page_by_key,
    page_limit,
)

Row = tuple[int, int]


def identity(row: Row) -> Key:
    return row


class Table:
    """Rows of which the first n by start time can be had, equals in an order of the store's own."""

    def __init__(self, rows: set[Row]) -> None:
        self.rows = rows
        self.fetched = 0

    def fetch(self, start: int, count: int) -> list[Row]:
        kept = [row for row in self.rows if row[0] >= start]
        got = sorted(kept, key=lambda row: (row[0], hash((row[1], count))))[:count]
        self.fetched += len(got)
        return got


def walk(table: Table, limit: int, between: list[Row] | None = None) -> list[Row]:
    """Read every page; rows of ``between`` arrive one after each page."""
    got: list[Row] = []
    after: Key | None = None
    waiting = list(between or [])
    while True:
        page = page_by_key(table.fetch, identity, 0, after, limit)
        assert len(page.rows) <= limit
        got += page.rows
        if page.next_key is None:
            return got
        assert page.rows
        after = page.next_key
        if waiting:
            table.rows.add(waiting.pop())


rows = st.sets(st.tuples(st.integers(0, 5), st.integers(0, 30)), max_size=60)


@given(rows, st.integers(1, 20))
def test_pages_hold_every_row_once_and_in_order(of: set[Row], limit: int) -> None:
    assert walk(Table(set(of)), limit) == sorted(of)


@given(rows, st.integers(1, 20), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30))))
def test_rows_that_arrive_meanwhile_move_nothing(of: set[Row], limit: int, late: list[Row]) -> None:
    got = walk(Table(set(of)), limit, late)
    assert got == sorted(set(got))
    assert set(of) <= set(got) <= set(of) | set(late)


def test_a_page_costs_about_a_page() -> None:
    table = Table({(second, 0) for second in range(1_000)})
    assert len(walk(table, 100)) == 1_000
    assert table.fetched < 1_300


@given(st.lists(st.integers(-(1 << 127), 1 << 127), min_size=1, max_size=8))
def test_a_token_gives_its_key_back(numbers: list[int]) -> None:
    token = encode_token(["windows", b"host", 5], tuple(numbers))
    assert decode_token(["windows", b"host", 5], token, len(numbers)) == tuple(numbers)
    with pytest.raises(InvalidPage, match="another request"):
        decode_token(["windows", b"host", 6], token, len(numbers))
    with pytest.raises(InvalidPage, match="not a token"):
        decode_token(["windows", b"host", 5], token, len(numbers) + 1)


def test_the_first_page_and_the_last() -> None:
    assert decode_token(["x"], "", 2) is None
    assert encode_token(["x"], None) == ""


@given(st.text(min_size=1))
def test_no_text_makes_a_token(text: str) -> None:
    with pytest.raises(InvalidPage, match="page_token"):
        decode_token(["x"], text, 1)


def test_page_sizes() -> None:
    assert (page_limit(0), page_limit(7), page_limit(MAX_PAGE)) == (DEFAULT_PAGE, 7, MAX_PAGE)
    with pytest.raises(InvalidPage, match="page_size: 10001 is more than 10000"):
        page_limit(MAX_PAGE + 1)


@given(st.lists(st.integers(1, 50), max_size=20), st.integers(1, 100))
def test_what_fits_an_answer(sizes: list[int], most: int) -> None:
    count = cut_to_bytes(sizes, most)
    assert sum(sizes[:count]) <= most or count == 1
    assert count == len(sizes) or sum(sizes[: count + 1]) > most
    assert count > 0 or not sizes
