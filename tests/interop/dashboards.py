"""Asks a back end every query of the Grafana dashboards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol, runtime_checkable

from interop.backend import Backend

FOLDER = Path(__file__).parents[2] / "packaging" / "grafana"
ANSWERED = ("fleet", "host", "device")
"""Dashboards of what the history has; the others are asked for their grammar only."""
ABSENT = ("throttle", "swing", "ramp", "averaging", "refresh")
"""What the history has none of."""
NS_PER_MS = 1_000_000


@runtime_checkable
class Queryable(Protocol):
    """A back end that takes PromQL."""

    def ask(self, expression: str, at_ms: int) -> int:
        """Return how many series a query gives at a moment; raises AssertionError."""
        ...


def broken_queries(backend: Backend, end_unix_ns: int) -> list[str]:
    """Return the queries that are refused, or find nothing where there is something."""
    if not isinstance(backend, Queryable):
        return []
    broken = []
    for file in sorted(FOLDER.glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                query = target["expr"].replace("$host", ".*").replace("$device", ".*")
                try:
                    found = backend.ask(query, end_unix_ns // NS_PER_MS)
                except AssertionError as error:
                    broken.append(f"{file.stem}: {query}: {error}")
                    continue
                is_due = file.stem in ANSWERED and not any(word in query for word in ABSENT)
                if is_due and not found:
                    broken.append(f"{file.stem}: {query}: nothing found")
    return broken
