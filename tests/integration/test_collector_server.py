"""A real collector process, real gRPC: what agents send is what people read back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import grpc
import pytest

from chipwatt.client import CollectorClient, RequestRefused
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.model import Domain, Statistic
from chipwatt.core.records import Records
from chipwatt.v1 import query_pb2, query_pb2_grpc
from fakes.agent_stream import send
from fakes.collector_process import Running, collector
from fakes.telemetry_records import (
    ABSENT,
    CPU,
    GPU,
    MINUTE_S,
    a_host,
    a_sensor,
    minute,
)

H1, H2 = a_host(1), a_host(2)
W = 1_000
TOPOLOGY = f"""\
[[node]]
id = "hall"
kind = "site"
budget = "2kW"

[[node]]
id = "feed-a"
kind = "feed"
parents = ["hall"]
budget = "300W"

[[node]]
id = "feed-b"
kind = "feed"
parents = ["hall"]
budget = "1kW"

[[node]]
id = "node-1"
kind = "host"
parents = [{{ id = "feed-a", feed = "A" }}, {{ id = "feed-b", feed = "B" }}]
host = "{H1.hex()}"

[[node]]
id = "node-2"
kind = "host"
parents = ["feed-b"]
rated = "700W"
host = "{H2.hex()}"
"""


@pytest.fixture(scope="module")
def start_s() -> int:
    return int(time.time()) - MINUTE_S


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, start_s: int) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("collector")
    (folder / "topology.toml").write_text(TOPOLOGY)
    with collector(folder, "--topology", str(folder / "topology.toml")) as one:
        assert send(one.address, H1, minute(start_s)).acked == 6
        yield one


@pytest.fixture
def client(running: Running) -> Iterator[CollectorClient]:
    with CollectorClient(running.address) as one:
        yield one


def sent(start_s: int) -> Records:
    parts = minute(start_s)
    return Records(
        windows=tuple(w for part in parts for w in part.windows),
        host_seconds=tuple(s for part in parts for s in part.host_seconds),
        gaps=tuple(g for part in parts for g in part.gaps),
    )


@pytest.mark.parametrize("page_size", [0, 1, 5, 12])
def test_windows_come_back_as_they_were_sent(
    client: CollectorClient, start_s: int, page_size: int
) -> None:
    got = list(client.windows(H1.hex(), page_size=page_size))
    assert got == sorted(sent(start_s).windows, key=lambda w: (w.start_unix_ns, w.device))


def test_windows_of_one_device_domain_and_range(client: CollectorClient, start_s: int) -> None:
    got = list(
        client.windows(
            H1.hex(),
            (start_s + 10) * NS_PER_S,
            (start_s + 30) * NS_PER_S,
            device=str(GPU),
            domain=Domain.BOARD,
        )
    )
    assert [(w.device, w.start_unix_ns // NS_PER_S - start_s) for w in got] == [
        (GPU, 10),
        (GPU, 20),
    ]
    assert list(client.windows(H1.hex(), device=str(GPU), domain=Domain.DRAM)) == []


def test_windows_of_one_statistic(client: CollectorClient) -> None:
    everything = list(client.windows(H1.hex()))
    assert list(client.windows(H1.hex(), statistic=Statistic.ENERGY)) == everything
    assert list(client.windows(H1.hex(), statistic=Statistic.AVERAGE)) == []


def test_rolled_up_windows_keep_every_microjoule(client: CollectorClient, start_s: int) -> None:
    fine = sum(w.energy_uj for w in client.windows(H1.hex()))
    coarse = list(client.windows(H1.hex(), resolution_ns=60 * NS_PER_S, page_size=1))
    assert (
        sum(w.energy_uj for w in coarse) == fine == sum(w.energy_uj for w in sent(start_s).windows)
    )


def test_seconds_gaps_and_devices_come_back(client: CollectorClient, start_s: int) -> None:
    records = sent(start_s)
    assert tuple(client.host_seconds(H1.hex(), page_size=7)) == records.host_seconds
    assert tuple(client.gaps(H1.hex())) == records.gaps
    devices = client.devices(H1.hex())
    assert [(d.device, d.sensors) for d in devices.devices] == [(CPU, ()), (GPU, (a_sensor(),))]
    assert devices.absent == (ABSENT,)


def test_hosts_latest_and_status(client: CollectorClient, start_s: int) -> None:
    (host,) = client.hosts()
    assert (host.host_id, host.name, host.devices) == (H1.hex(), H1.hex(), 2)
    (latest,) = client.latest()
    assert latest.host_second == sent(start_s).host_seconds[-1]
    assert [w.start_unix_ns // NS_PER_S for w in latest.windows] == [start_s + 50] * 2
    status = client.status()
    assert (status.batches_stored, status.device_windows_stored) == (6, 12)
    assert (status.host_seconds_stored, status.gaps_stored, status.refused) == (60, 1, 0)
    assert status.root_energy_uj == sum(w.energy_uj for w in sent(start_s).windows)
    assert status.store_bytes > 0


def test_headroom_over_both_feeds(client: CollectorClient) -> None:
    got = {item.node_id: item for item in client.headroom()}
    assert got["node-1"].now_mw == 200 * W
    assert got["node-1"].predicted_peak_mw == 300 * W + 50
    assert got["feed-a"].headroom_mw == 150 * W - 25
    assert (got["node-1"].headroom_mw, got["node-1"].binding_node_id) == (150 * W - 25, "feed-a")
    # Nothing was heard of the second host: it counts with its nameplate.
    assert got["feed-b"].predicted_peak_mw == 850 * W + 25
    assert (got["node-2"].headroom_mw, got["node-2"].binding_node_id) == (0, "node-2")
    assert got["node-2"].provenance.predictor == "NAMEPLATE"
    assert got["hall"].provenance.reporting_ppm == 500_000
    assert set(got["hall"].provenance.quality) == {"PARTIAL", "COLD_START"}
    assert [item.node_id for item in client.headroom(["feed-b", "hall"])] == ["feed-b", "hall"]


def test_topology_and_a_part_of_it(client: CollectorClient) -> None:
    nodes = {node.id: node for node in client.topology().nodes}
    assert nodes["node-1"].host_id == H1.hex()
    assert nodes["node-2"].host_id == ""
    assert [parent.feed for parent in nodes["node-1"].parents] == ["A", "B"]
    assert [node.id for node in client.topology("feed-a").nodes] == ["feed-a", "node-1"]


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (lambda c: list(c.windows("ff" * 16)), f"host_id: no host {'ff' * 16!r} has reported"),
        (lambda c: list(c.gaps("")), "host_id: empty"),
        (lambda c: list(c.windows(H1.hex(), 2, 1)), "end_unix_ns: before start_unix_ns"),
        (lambda c: list(c.host_seconds(H1.hex(), -1)), "start_unix_ns: before 1970"),
        (lambda c: list(c.windows(H1.hex(), device="gpu/7")), "device_id: host"),
        (lambda c: list(c.windows(H1.hex(), device="door")), "device_id: 'door' is no device id"),
        (lambda c: list(c.windows(H1.hex(), resolution_ns=7)), "resolution_ns: 0, or 10 s"),
        (lambda c: list(c.windows(H1.hex(), page_size=10_001)), "page_size: 10001"),
        (lambda c: c.headroom(["feed-c"]), "node_ids: no power node 'feed-c'; did you mean"),
        (lambda c: c.topology("nowhere"), "root_id: no power node 'nowhere'"),
    ],
)
def test_what_cannot_be_asked(client: CollectorClient, ask: object, reason: str) -> None:
    assert callable(ask)
    with pytest.raises(RequestRefused) as refused:
        ask(client)
    assert reason in str(refused.value)


def test_statuses_and_tokens_on_the_wire(running: Running) -> None:
    with grpc.insecure_channel(running.address) as channel:
        stub = query_pb2_grpc.QueryServiceStub(channel)
        with pytest.raises(grpc.RpcError) as unknown:
            stub.ListDevices(query_pb2.ListDevicesRequest(host_id="aa" * 16))
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        request = query_pb2.ListHostSecondsRequest(host_id=H1.hex(), page_token="%%%")
        with pytest.raises(grpc.RpcError) as broken:
            stub.ListHostSeconds(request)
        assert broken.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert broken.value.details() == "page_token: not a token that this collector gave"
        first = query_pb2.ListHostSecondsRequest(host_id=H1.hex(), page_size=1)
        token = stub.ListHostSeconds(first).next_page_token
        other = query_pb2.ListHostSecondsRequest(
            host_id=H1.hex(), start_unix_ns=5, page_token=token
        )
        with pytest.raises(grpc.RpcError) as foreign:
            stub.ListHostSeconds(other)
        assert foreign.value.details() == "page_token: it was given for another request"
