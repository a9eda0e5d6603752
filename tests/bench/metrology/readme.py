"""Puts made tables between markers in ``tests/bench/README.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

README: Final = Path(__file__).resolve().parents[1] / "README.md"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; a bar inside a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines
    )


def replace(text: str, parts: Mapping[str, str]) -> str:
    """Return ``text`` with each part between ``<!-- name: begin -->`` and ``<!-- name: end -->``.

    What stands outside stays as it is. Raises LookupError where a pair of markers is
    missing or doubled.
    """
    for name, part in parts.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        if text.count(begin) != 1 or text.count(end) != 1 or end not in rest:
            raise LookupError(f"the file has no {begin.strip()} with its end below it, once each")
        text = f"{before}{begin}{part}\n{end}{after}"
    return text


def write(parts: Mapping[str, str], path: Path = README) -> None:
    """Replace the parts in the file."""
    path.write_text(replace(path.read_text(), parts))
