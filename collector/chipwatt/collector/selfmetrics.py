"""What the collector reports of itself: counters of its stages in one answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from chipwatt.collector.query.answers import reason_counts
from chipwatt.collector.store.contract import Totals
from chipwatt.v1 import query_pb2

_U64 = (1 << 64) - 1
SIZE_STEP_BYTES = 1 << 20
"""Far more than a minute of a host, which is compressed, and so as long as its data is rich."""


class IngestCounts(Protocol):
    """What is read of ingest."""

    @property
    def duplicates(self) -> int: ...
    @property
    def conflicts(self) -> int: ...
    @property
    def refused(self) -> Mapping[str, int]: ...
    @property
    def connected(self) -> int: ...
    @property
    def unverified(self) -> int: ...
    @property
    def rows(self) -> Mapping[str, int]: ...
    @property
    def store_failures(self) -> int: ...


class LedgerCheck(Protocol):
    """What is read of the store's books."""

    @property
    def holes(self) -> int: ...
    @property
    def hole_uj(self) -> int: ...
    @property
    def twice_uj(self) -> int: ...


class ExportCounts(Protocol):
    """What is read of the OTLP export."""

    @property
    def points_sent(self) -> int: ...
    @property
    def points_rejected(self) -> int: ...
    @property
    def lag_ms(self) -> int: ...


def status_message(
    totals: Totals,
    ingest: IngestCounts,
    export: ExportCounts | None,
    ledger: LedgerCheck | None = None,
    *,
    missing_batches: int = 0,
    stalled: str = "",
    damaged: int = 0,
    streams_shed: int = 0,
) -> query_pb2.GetCollectorStatusResponse:
    """Return the collector's status; without an export, or books, its numbers are 0."""
    return query_pb2.GetCollectorStatusResponse(
        batches_stored=totals.batches,
        host_seconds_stored=totals.host_seconds,
        device_windows_stored=totals.device_windows,
        gaps_stored=totals.gaps,
        duplicates_absorbed=ingest.duplicates,
        conflicts=ingest.conflicts,
        refused=sum(ingest.refused.values()),
        store_bytes=totals.bytes_on_disk,
        connected=ingest.connected,
        root_energy_j=totals.root_energy_uj // 1_000_000,
        root_energy_rest_uj=totals.root_energy_uj % 1_000_000,
        otlp_points_sent=export.points_sent if export else 0,
        otlp_points_rejected=export.points_rejected if export else 0,
        otlp_lag_ms=export.lag_ms if export else 0,
        ledger_holes=ledger.holes if ledger else 0,
        ledger_hole_uj=min(ledger.hole_uj, _U64) if ledger else 0,
        ledger_twice_uj=min(ledger.twice_uj, _U64) if ledger else 0,
        duplicates_unverified=ingest.unverified,
        counted=reason_counts({**ingest.refused, **ingest.rows}),
        missing_batches=missing_batches,
        stalled=stalled,
        store_failures=ingest.store_failures,
        damaged=damaged,
        streams_shed=streams_shed,
    )


def with_coarse_size(
    status: query_pb2.GetCollectorStatusResponse,
) -> query_pb2.GetCollectorStatusResponse:
    """Return a status whose store is as large as the next whole step, for metrics that leave."""
    status.store_bytes = -(-status.store_bytes // SIZE_STEP_BYTES) * SIZE_STEP_BYTES
    return status


def without_energy(
    status: query_pb2.GetCollectorStatusResponse,
) -> query_pb2.GetCollectorStatusResponse:
    """Return a status without what moves with power, for whoever may see no exact energy.

    In a small fleet the sum over all chips, asked for again and again, is the trace of one.
    """
    status.ClearField("root_energy_j")
    status.ClearField("root_energy_rest_uj")
    status.ClearField("ledger_hole_uj")
    status.ClearField("ledger_twice_uj")
    status.ClearField("store_bytes")  # blocks are compressed
    return status
