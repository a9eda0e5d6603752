"""Counters of an adapter in the text format that Prometheus scrapes."""

from __future__ import annotations

import threading
from collections import Counter

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Tally:
    """Counts what was asked and how it ended; safe between threads.

    Labels come from closed sets in our own code: never from what was sent.
    """

    def __init__(self, adapter: str) -> None:
        self._adapter = adapter
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()

    def count(self, verb: str, outcome: str) -> None:
        """Count one."""
        with self._lock:
            self._counts[verb, outcome] += 1

    def of(self, verb: str, outcome: str) -> int:
        """Return how often that happened."""
        with self._lock:
            return self._counts[verb, outcome]

    def text(self) -> str:
        """Return every counter, one a line."""
        name = "chipwatt_adapter_calls_total"
        lines = [f"# HELP {name} Calls of a scheduler by how they ended.", f"# TYPE {name} counter"]
        with self._lock:
            lines += [
                f'{name}{{adapter="{self._adapter}",verb="{verb}",outcome="{outcome}"}} {count}'
                for (verb, outcome), count in sorted(self._counts.items())
            ]
        return "\n".join(lines) + "\n"
