"""A host that has said hello and no more is known everywhere at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chipwatt.collector.answering import Refused
from chipwatt.collector.latest import Latest
from chipwatt.collector.query.queries import Queries
from chipwatt.collector.store.config import StoreConfig
from chipwatt.collector.store.contract import HostRow
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.v1 import query_pb2 as pb

HOST = bytes(range(16))


def test_a_noted_host_has_empty_lists_and_is_not_unknown(tmp_path: Path) -> None:
    store = SqliteStore(replace(StoreConfig(), path=tmp_path / "store"))
    try:
        store.note_host(HostRow(HOST, "node-1", 1, 1, 0, 0))
        queries = Queries(store, Latest(), frozenset)
        listed = queries.list_hosts(pb.ListHostsRequest()).hosts
        assert [host.host_id for host in listed] == [HOST.hex()]
        for text in (HOST.hex(), HOST.hex().upper(), "node-1"):
            assert not queries.list_windows(pb.ListWindowsRequest(host_id=text)).windows
            assert not queries.list_devices(pb.ListDevicesRequest(host_id=text)).devices
            seconds = queries.list_host_seconds(pb.ListHostSecondsRequest(host_id=text))
            assert not seconds.host_seconds
            assert not queries.list_gaps(pb.ListGapsRequest(host_id=text)).gaps
            latest = queries.get_latest(pb.GetLatestRequest(host_ids=[text])).hosts
            assert [host.host_id for host in latest] == [HOST.hex()]
        with pytest.raises(Refused):
            queries.list_windows(pb.ListWindowsRequest(host_id="node-2"))
    finally:
        store.close()
