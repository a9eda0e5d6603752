"""Tables without any terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.cli.tables import Table, fitted, plain, rich_table, show


def test_columns_line_up() -> None:
    table = Table(["device", ">power"], [("cpu/0", "9.1 W"), ("gpu/1", "751 W")], title="now")
    assert plain(table).splitlines() == [
        "now",
        "device  power",
        "------  -----",
        "cpu/0   9.1 W",
        "gpu/1   751 W",
    ]


_CELL = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)


@given(st.lists(st.tuples(_CELL, _CELL, _CELL), max_size=6))
def test_no_cell_is_lost(rows: list[tuple[str, str, str]]) -> None:
    lines = plain(Table(["a", ">b", "c"], list(rows))).splitlines()
    assert len(lines) == 2 + len(rows)
    for row, line in zip(rows, lines[2:], strict=True):
        assert line.split() == list(row)


def test_output_to_a_file_has_no_escape_codes(capsys: pytest.CaptureFixture[str]) -> None:
    show(Table(["a"], [("1",)]), Table(["b"], [("2",)]))
    assert capsys.readouterr().out == "a\n-\n1\n\nb\n-\n2\n"


def test_rich_takes_brackets_as_text() -> None:
    import rich.console

    console = rich.console.Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    with console.file:
        console.print(rich_table(Table(["a", ">b"], [("[red]", "[/]")])))
    assert "[red]" in console.export_text()


@given(
    st.lists(st.tuples(_CELL, _CELL, _CELL), min_size=1, max_size=4),
    st.integers(5, 60),
)
def test_fitting_drops_only_what_it_may_and_no_more_than_it_must(
    rows: list[tuple[str, str, str]], width: int
) -> None:
    table = Table(["a", ">b", "c"], list(rows))
    narrow = fitted(table, width, ("b", "c"))
    assert narrow.headings in (["a", ">b", "c"], ["a", "c"], ["a"])
    assert [row[0] for row in narrow.rows] == [row[0] for row in rows]
    if len(narrow.headings) > 1:
        assert max(map(len, plain(narrow).splitlines())) <= width


def test_control_characters_of_a_name_reach_no_terminal() -> None:
    table = Table(["name"], [("gpu\x1b[2J\r\n",)])
    assert "\x1b" not in plain(table)
    assert "gpu?[2J??" in plain(table)
