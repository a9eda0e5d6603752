"""How long commits take and how old data is when it comes, from what has been stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from opentelemetry.metrics import Histogram

from chipwatt.collector.store.contract import IncomingBatch
from chipwatt.collector.telemetry.agents import newest_unix_ns
from chipwatt.core.clock import NS_PER_S


class Commits:
    """One record a commit, so that it costs the same whatever the fleet's size."""

    def __init__(self, wait: Histogram, lag: Histogram, unix_ns: Callable[[], int]) -> None:
        self._wait = wait
        self._lag = lag
        self._unix_ns = unix_ns

    def on_commit(self, batches: Sequence[IncomingBatch]) -> None:
        """Note a commit, in the thread that made it."""
        if not batches:
            return
        first_unix_ns = min(batch.received_unix_ns for batch in batches)
        self._wait.record(max(0, self._unix_ns() - first_unix_ns) / NS_PER_S)
        ages_ns = [
            batch.received_unix_ns - newest
            for batch in batches
            if (newest := newest_unix_ns(batch.tables)) is not None
        ]
        if ages_ns:
            self._lag.record(max(0, *ages_ns) / NS_PER_S)
