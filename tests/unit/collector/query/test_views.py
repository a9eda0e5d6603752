"""What a caller with the role egress is shown of windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chipwatt.collector.answering import Refused
from chipwatt.collector.egress.policy import COARSE
from chipwatt.collector.egress.shield import STEP_UJ
from chipwatt.collector.latest import Latest
from chipwatt.collector.query.queries import Queries
from chipwatt.collector.store.config import StoreConfig
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.model import Flag
from chipwatt.v1 import query_pb2 as pb
from fakes.device_windows import HOST_A, NS, T0_NS, Batches, a_run

MINUTE_NS = 60 * NS


@pytest.fixture
def queries(tmp_path: Path) -> Iterator[Queries]:
    store = SqliteStore(replace(StoreConfig(), path=tmp_path / "store"))
    windows = [
        replace(window, flags=window.flags | Flag.HELD_ALONE)
        for window in a_run([STEP_UJ // 4] * 12)
    ]
    batch, latest = Batches().of(windows), Latest()
    store.commit([batch])
    latest.on_commit([batch])
    yield Queries(store, latest, frozenset, now_unix_ns=lambda: T0_NS + 2 * MINUTE_NS)
    store.close()


def test_no_finer_than_a_minute(queries: Queries) -> None:
    for resolution_ns in (0, 10 * NS):
        asked = pb.ListWindowsRequest(host_id=HOST_A.hex(), resolution_ns=resolution_ns)
        with pytest.raises(Refused, match="resolution_ns: below 60000000000"):
            queries.list_windows(asked, COARSE)


@pytest.mark.parametrize("end_s", [0, 10, 50])
def test_whole_minutes_that_have_settled_and_held_devices_coarse(
    queries: Queries, end_s: int
) -> None:
    # Where a range ends must not cut a minute apart, nor may one that is still open be asked for.
    asked = pb.ListWindowsRequest(
        host_id=HOST_A.hex(),
        resolution_ns=MINUTE_NS,
        end_unix_ns=T0_NS + end_s * NS if end_s else 0,
    )
    (window,) = queries.list_windows(asked, COARSE).windows
    assert (window.duration_ns, window.energy_uj) == (MINUTE_NS, STEP_UJ)
    assert not window.HasField("max_mw")
    assert not window.histogram.counts_ms
    everything = queries.list_windows(pb.ListWindowsRequest(host_id=HOST_A.hex())).windows
    assert len(everything) == 12


def test_a_device_that_was_ever_held_stays_coarse(tmp_path: Path) -> None:
    # An agent that starts without its bindings marks nothing.
    free, batches = a_run([STEP_UJ // 7] * 18), Batches()
    bound = [replace(window, flags=window.flags | Flag.HELD_ALONE) for window in free[6:12]]
    config = replace(StoreConfig(), path=tmp_path / "store")
    for windows in (free[:6], bound, free[12:]):
        store = SqliteStore(config)
        store.commit([batches.of(windows)])
        store.close()
    store = SqliteStore(config)
    queries = Queries(store, Latest(), frozenset, now_unix_ns=lambda: T0_NS + 9 * MINUTE_NS)
    asked = pb.ListWindowsRequest(host_id=HOST_A.hex(), resolution_ns=MINUTE_NS)
    told = [
        window.cumulative_uj % STEP_UJ for window in queries.list_windows(asked, COARSE).windows
    ]
    store.close()
    assert told[0]
    assert told[1:] == [0, 0]
