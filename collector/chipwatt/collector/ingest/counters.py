"""What ingest took and refused since it started."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class IngestCounters:
    """Plain counts; read from any thread."""

    batches: int = 0
    """Batches stored."""
    duplicates: int = 0
    """Batches acked again because they were stored already."""
    conflicts: int = 0
    """Batches put aside: their key was stored with another content."""
    refused: Counter[str] = field(default_factory=Counter)
    """Batches refused for good, by reason."""
    ahead: int = 0
    """Rows that start more than two minutes after they arrived: a clock is wrong."""
    store_failures: int = 0
    """Commits that failed and were tried again."""
    connected: int = 0
    """Streams open now."""
    replaced: int = 0
    """Streams ended because the same host opened a newer one."""
