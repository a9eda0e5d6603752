"""Tables for a terminal: rich where it is installed and someone watches, plain text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from chipwatt.cli.extras import optional

_RICH_GAP = 3
"""Blanks that rich puts between two columns; plain text has two."""


@dataclass(slots=True)
class Table:
    """Headings, of which those that start with ``>`` are aligned to the right, and rows."""

    headings: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    title: str = ""
    faint: set[int] = field(default_factory=set)
    """Rows, by number, that are shown grey where there are colours."""


def fitted(table: Table, width: int, expendable: Sequence[str]) -> Table:
    """Return the table without as many of the expendable columns as it takes to fit ``width``."""
    kept = list(range(len(table.headings)))
    for name in expendable:
        if sum(_widths(table)[column] + _RICH_GAP for column in kept) <= width:
            break
        kept = [column for column in kept if table.headings[column].removeprefix(">") != name]
    return Table(
        [table.headings[column] for column in kept],
        [tuple(row[column] for column in kept) for row in table.rows],
        table.title,
        table.faint,
    )


def plain(table: Table) -> str:
    """Return the table as aligned text without any escape code."""
    names = [heading.removeprefix(">") for heading in table.headings]
    right = [heading.startswith(">") for heading in table.headings]
    widths = _widths(table)
    lines = [table.title] if table.title else []
    for cells in (names, ["-" * width for width in widths], *table.rows):
        padded = (
            printable(cell).rjust(width) if is_right else printable(cell).ljust(width)
            for cell, width, is_right in zip(cells, widths, right, strict=True)
        )
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def printable(text: str) -> str:
    """Return the text with a ``?`` for every control character: a name may come from anywhere."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def rich_table(table: Table) -> object:
    """Return the table as a rich renderable; rich must be installed."""
    import rich.box
    import rich.markup
    import rich.table

    made = rich.table.Table(
        title=table.title or None, title_justify="left", title_style="bold", box=rich.box.SIMPLE
    )
    for heading in table.headings:
        justify = "right" if heading.startswith(">") else "left"
        made.add_column(heading.removeprefix(">"), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for number, row in enumerate(table.rows):
        cells = (rich.markup.escape(printable(cell)) for cell in row)
        made.add_row(*cells, style="dim" if number in table.faint else None)
    return made


def _widths(table: Table) -> list[int]:
    return [
        max(len(heading.removeprefix(">")), *(len(row[column]) for row in table.rows), 0)
        for column, heading in enumerate(table.headings)
    ]


def show(*tables: Table) -> None:
    """Print tables to standard output."""
    if sys.stdout.isatty() and optional("rich"):
        import rich.console

        console = rich.console.Console(highlight=False)
        for table in tables:
            console.print(rich_table(table))
        return
    print("\n\n".join(plain(table) for table in tables))
