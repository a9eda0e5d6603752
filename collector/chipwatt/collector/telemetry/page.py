"""Writes every metric's row into ``packaging/otlp.md``; ``--check`` compares.

``python -m chipwatt.collector.telemetry.page``, at the root of the tree.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from chipwatt.collector.otlp import table as hardware
from chipwatt.collector.otlp.table import Metric
from chipwatt.collector.telemetry import table as own

PAGE: Final = Path("packaging/otlp.md")
TABLES: Final[Mapping[str, tuple[Metric, ...]]] = {"table": hardware.METRICS, "own": own.METRICS}
"""By the name in their marks."""


def rendered(metrics: Iterable[Metric]) -> str:
    """Return a table of metrics in Markdown."""
    lines = ["| name | unit | instrument | attributes | meaning | example |", "|" + " --- |" * 6]
    for metric in metrics:
        names = [f"`{name}`" for name in metric.attributes]
        if metric.is_of_component:
            names.insert(0, "*component*")
        lines.append(
            f"| `{metric.name}` | {metric.unit} | {metric.instrument} | {', '.join(names)} "
            f"| {metric.meaning} | {metric.example} |"
        )
    return "\n".join(lines)


def page(text: str) -> str:
    """Return ``text`` with the tables between their marks; raises ValueError where they lack."""
    for name, metrics in TABLES.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        head, has_begin, rest = text.partition(begin)
        _, has_end, tail = rest.partition(end)
        if not has_begin or not has_end:
            raise ValueError(f"the page has no {begin} ... {end}")
        text = f"{head}{begin}\n{rendered(metrics)}\n{end}{tail}"
    return text


def main() -> None:
    """Write the page, or compare with ``--check``."""
    parser = argparse.ArgumentParser(description="Put the tables of metrics into their page.")
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 on a difference")
    text = PAGE.read_text()
    fresh = page(text)
    if not parser.parse_args().check:
        PAGE.write_text(fresh)
    elif fresh != text:
        sys.exit(f"{PAGE}: stale, run `python -m chipwatt.collector.telemetry.page`")


if __name__ == "__main__":
    main()
