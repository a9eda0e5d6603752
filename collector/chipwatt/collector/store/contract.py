"""What the rest of the collector may ask of a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chipwatt.core.clock import NS_PER_S
from chipwatt.core.columns import SectionKind
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import Domain, Statistic
from chipwatt.core.records import (
    AbsentInterface,
    AgentHealth,
    DeviceWindow,
    Gap,
    HostSecond,
    SensorStatus,
)
from chipwatt.core.tables import Array, Table, Tables

AHEAD_NS = 120 * NS_PER_S
"""A start further than this ahead of the collector's clock is a wrong clock."""


@dataclass(frozen=True, slots=True)
class BatchKey:
    """What makes a batch the same batch."""

    host: bytes
    boot: bytes
    spool_epoch: int
    sequence: int


@dataclass(frozen=True, slots=True)
class IncomingBatch:
    """A checked batch on its way to the disk."""

    key: BatchKey
    digest: bytes
    received_unix_ns: int
    tables: Tables


@dataclass(frozen=True, slots=True)
class StreamState:
    """What dedupe must remember of one (host, boot, spool epoch)."""

    host: bytes
    boot: bytes
    spool_epoch: int
    seen: tuple[tuple[int, int], ...]
    """Sequences stored, as inclusive ranges, ascending and apart."""
    digests: tuple[tuple[int, bytes], ...]
    """(sequence, digest) of the newest batches."""


@dataclass(frozen=True, slots=True)
class HostRow:
    """A host that has sent something."""

    host: bytes
    name: str
    first_seen_unix_ns: int
    last_seen_unix_ns: int
    agent_version: int
    clock_offset_ns: int


def last_heard(known_unix_ns: int, heard_unix_ns: int) -> int:
    """Return when a host was last heard, by our clock, of what is known and what is new.

    The later, but a known time that is far ahead is of a clock that was set back since.
    """
    if known_unix_ns - heard_unix_ns > AHEAD_NS:
        return heard_unix_ns
    return max(known_unix_ns, heard_unix_ns)


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What ingest knows of one host beside its data."""

    clock_offset_ns: int | None = None
    """How far its wall clock is ahead of ours; None where it did not say since the start."""
    missing_batches: int = 0
    """Sequence numbers between stored batches that never came."""
    counted: Mapping[str, int] = field(default_factory=dict)
    """Refused batches, conflicts and changed rows, by reason."""


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one kind in the order they were committed, for readers with a cursor."""

    position: int
    """Grows with every commit; what a cursor keeps."""
    kind: SectionKind
    hosts: Array
    """Per row: position in the list that ``Store.host_dictionary`` returns."""
    devices: Array
    """Per row: position in ``Store.device_dictionary``; empty for host seconds."""
    table: Table


@dataclass(frozen=True, slots=True)
class Totals:
    """What the store holds, counted since it was made."""

    batches: int
    host_seconds: int
    device_windows: int
    gaps: int
    root_energy_uj: int
    bytes_on_disk: int


class Store(Protocol):
    """Durable books of every joule. One writer; readers never block it."""

    def commit(self, batches: Sequence[IncomingBatch]) -> Mapping[bytes, Counter[str]]:
        """Write all or nothing; on return they survive a power cut. Raises StoreError.

        Returns how many rows were left out or cut, by host and reason, because what
        they say is stored already under other keys: ``covered``, ``trimmed``, ``twin``.
        """
        ...

    def note_host(self, host: HostRow) -> None:
        """Keep what a host said of itself when it connected."""
        ...

    def streams(self) -> list[StreamState]:
        """Return the dedupe state as of the last commit."""
        ...

    def hosts(self) -> list[HostRow]: ...

    def host_dictionary(self) -> list[bytes]: ...

    def device_dictionary(self) -> list[tuple[bytes, DeviceId]]: ...

    def sensors(self, host: bytes) -> list[SensorStatus]:
        """Return the newest status of every sensor."""
        ...

    def absent(self, host: bytes) -> list[AbsentInterface]: ...

    def health(self, host: bytes) -> AgentHealth | None: ...

    def windows(
        self,
        host: bytes,
        start_unix_ns: int,
        end_unix_ns: int,
        *,
        resolution_ns: int = 0,
        device: DeviceId | None = None,
        domain: Domain | None = None,
        statistic: Statistic | None = None,
        limit: int = 10_000,
    ) -> list[DeviceWindow]:
        """Return windows that start in [start, end), by start time."""
        ...

    def host_seconds(
        self, host: bytes, start_unix_ns: int, end_unix_ns: int, *, limit: int = 10_000
    ) -> list[HostSecond]: ...

    def gaps(
        self, host: bytes, start_unix_ns: int, end_unix_ns: int, *, limit: int = 10_000
    ) -> list[Gap]: ...

    def follow(self, after: int, *, limit: int = 100) -> list[Block]:
        """Return up to ``limit`` blocks committed after position ``after``, in order."""
        ...

    def totals(self) -> Totals: ...

    def expire(self, now_unix_ns: int) -> bool:
        """Roll up and delete what retention no longer keeps; return whether all of that is done."""
        ...

    def close(self) -> None: ...
