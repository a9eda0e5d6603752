"""What ingest took and refused since it started.

Every rejection is counted under one reason:

=================  =========================================================================
``refused``        the batch is answered with a refusal and never taken
``key``            boot id or digest is not 16 bytes, or the sequence is not in 1..2^63-1
``encoding``       an encoding that is not known, or no zstd frame
``too large``      more than 256 KiB of payload, packed or unpacked
``digest``         the payload does not have the digest that came with it
``payload``        it breaks the schema: a column is missing, a length or a range is wrong,
                   energy exceeds its counter, bounds are upside down
``fragments``      the stream has holes in more than 4,096 places: no agent numbers like that
``store``          the store cannot take this one batch, whatever is tried
``conflicts``      the key is stored with another content; the batch is quarantined
``duplicates``     the key is stored with this content: acked again, stored once
``unverified``     the same, but so long ago that contents can no longer be compared
=================  =========================================================================

Of a batch that is taken, rows may be

=================  =========================================================================
``ahead``          stamped more than two minutes in the future: stored with the time at
                   which they came and flagged CLOCK_AHEAD; no newest state follows them
``implausible``    of more than 1.5 times the power that their sensor says is possible:
                   stored and flagged IMPLAUSIBLE
``covered``        wholly in merged windows that are stored already, or merged from windows
                   that are: left out
``trimmed``        merged from windows of which some are stored: only the rest is stored
``twin``           of a time of which another spool epoch of that boot has told: two agents read
                   the same sensors; left out, the first one's stay
=================  =========================================================================
"""

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
    unverified: int = 0
    """Duplicates whose content could no longer be compared with what is stored."""
    conflicts: int = 0
    """Batches put aside: their key was stored with another content."""
    refused: Counter[str] = field(default_factory=Counter)
    """Batches refused for good, by reason."""
    rows: Counter[str] = field(default_factory=Counter)
    """Rows that did not stay as they came, by reason."""
    hosts: dict[bytes, Counter[str]] = field(default_factory=dict)
    """All of the above but batches and duplicates, by host."""
    store_failures: int = 0
    """Commits that failed and were tried again."""
    connected: int = 0
    """Streams open now."""
    replaced: int = 0
    """Streams ended because the same host opened a newer one."""

    def refuse(self, host: bytes, reason: str) -> int:
        """Count a batch refused for good; return how many this host has had of this reason."""
        self.refused[reason] += 1
        return self._of(host, reason, 1)

    def conflict(self, host: bytes) -> int:
        """Count a conflict; return how many this host has had."""
        self.conflicts += 1
        return self._of(host, "conflicts", 1)

    def flag(self, host: bytes, found: Counter[str]) -> None:
        """Count rows of a stored batch that did not stay as they came."""
        self.rows.update(found)
        for reason, count in found.items():
            self._of(host, reason, count)

    def _of(self, host: bytes, reason: str, count: int) -> int:
        counted = self.hosts.get(host)
        if counted is None:
            counted = self.hosts[host] = Counter()
        counted[reason] += count
        return counted[reason]


def is_worth_a_line(count: int) -> bool:
    """Whether the ``count``-th time of the same thing is logged: the 1st, 2nd, 4th, 8th, ..."""
    return count & (count - 1) == 0
