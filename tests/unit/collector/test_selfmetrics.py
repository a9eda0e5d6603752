from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.client import messages
from chipwatt.collector.ingest.counters import IngestCounters
from chipwatt.collector.otlp.export import ExportStatus
from chipwatt.collector.selfmetrics import (
    SIZE_STEP_BYTES,
    status_message,
    with_coarse_size,
    without_energy,
)
from chipwatt.collector.store.contract import Totals
from chipwatt.collector.store.ledger import EnergyCheck
from chipwatt.v1 import query_pb2

ENERGY_UJ = 10**20 + 5  # more than 64 bits hold
TOTALS = Totals(1, 2, 3, 4, ENERGY_UJ, 6)
INGEST = IngestCounters(
    duplicates=7, conflicts=8, refused=Counter(payload=9, digest=1), connected=11
)


def test_every_counter_has_its_place() -> None:
    books = EnergyCheck(1, 16, 17, 18)
    status = messages.status(status_message(TOTALS, INGEST, ExportStatus(12, 13, 14, 15), books))
    assert (status.ledger_holes, status.ledger_hole_uj, status.ledger_twice_uj) == (16, 17, 18)
    assert (status.batches_stored, status.host_seconds_stored) == (1, 2)
    assert (status.device_windows_stored, status.gaps_stored) == (3, 4)
    assert (status.root_energy_uj, status.store_bytes) == (ENERGY_UJ, 6)
    assert (status.duplicates_absorbed, status.conflicts) == (7, 8)
    assert (status.refused, status.connected) == (10, 11)
    assert (status.otlp_points_sent, status.otlp_points_rejected, status.otlp_lag_ms) == (
        12,
        13,
        15,
    )


def test_without_an_export_its_numbers_are_zero() -> None:
    message = status_message(TOTALS, INGEST, None)
    assert message.otlp_lag_ms == message.otlp_points_sent == 0
    everything = {field.name for field in query_pb2.GetCollectorStatusResponse.DESCRIPTOR.fields}
    split = {"root_energy_j", "root_energy_rest_uj"}
    known = {field.name for field in fields(messages.status(message))}
    assert everything - split == known - {"root_energy_uj"}


def test_who_may_see_no_exact_energy_finds_none_in_the_status() -> None:
    books = EnergyCheck(1, 16, 17, 18)
    whole = status_message(TOTALS, INGEST, None, books, damaged=3)
    told = messages.status(without_energy(status_message(TOTALS, INGEST, None, books, damaged=3)))
    assert messages.status(whole).root_energy_uj == ENERGY_UJ
    assert told.root_energy_uj == told.store_bytes == 0
    assert told.ledger_hole_uj == told.ledger_twice_uj == 0
    assert (told.batches_stored, told.ledger_holes, told.damaged) == (1, 16, 3)


@given(st.integers(0, 1 << 50))
def test_metrics_that_leave_tell_the_size_of_the_store_in_whole_steps(store_bytes: int) -> None:
    whole = status_message(replace(TOTALS, bytes_on_disk=store_bytes), INGEST, None)
    told = messages.status(with_coarse_size(whole))
    assert told.store_bytes % SIZE_STEP_BYTES == 0
    assert 0 <= told.store_bytes - store_bytes < SIZE_STEP_BYTES
    assert told.root_energy_uj == ENERGY_UJ
