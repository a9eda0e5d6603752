"""Reservations of a collector as a process: many clients at once, kills, restarts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc

from chipwatt.v1 import placement_pb2 as pb
from chipwatt.v1 import placement_pb2_grpc
from fakes.agent_stream import send
from fakes.collector_process import collector
from fakes.telemetry_records import MINUTE_S, a_host, minute

W = 1_000
STEP_W = 7
HOSTS = 4
RACK = """
[[node]]
id = "hall"
kind = "site"
budget = "20kW"

[[node]]
id = "a"
kind = "feed"
parents = ["hall"]

[[node]]
id = "b"
kind = "feed"
parents = ["hall"]
budget = "1200W"

[[node]]
id = "rack"
kind = "rack"
parents = ["a", "b"]
budget = "2300W"
safety_margin = 0.1
"""
HOST = """
[[node]]
id = "n{0}"
kind = "host"
parents = ["rack"]
rated = "700W"
host = "{1}"
"""


def topology(folder: Path) -> str:
    path = folder / "topology.toml"
    path.write_text(RACK + "".join(HOST.format(n, a_host(n).hex()) for n in range(HOSTS)))
    return str(path)


@contextmanager
def placing(address: str) -> Iterator[placement_pb2_grpc.PlacementServiceStub]:
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(address, options) as channel:
        yield placement_pb2_grpc.PlacementServiceStub(channel)


def a_request(key: str, node_id: str, *, ttl_s: int = 600) -> pb.ReserveRequest:
    inline = pb.InlineProfile(mean_mw=STEP_W * W, peak_mw=STEP_W * W)
    demand = pb.Demand(inline=inline, priority=3)
    return pb.ReserveRequest(idempotency_key=key, node_id=node_id, demand=demand, ttl_s=ttl_s)


def ten_minutes(address: str, *hosts: int) -> None:
    """Let hosts tell the ten minutes up to now: 200 W, with peaks of some 300 W."""
    start_s = int(time.time()) - 10 * MINUTE_S
    for number in hosts:
        told = [one for at in range(10) for one in minute(start_s + at * MINUTE_S)]
        assert send(address, a_host(number), told).acked == len(told)
    # The collector looks once a second, and may have looked between two batches.
    heard_mw = (len(hosts) * 301 + (HOSTS - len(hosts)) * 700) * W
    deadline_s = time.monotonic() + 60
    with placing(address) as stub:
        while True:
            (rack,) = stub.GetHeadroom(pb.GetHeadroomRequest(node_ids=["rack"])).headrooms
            if rack.predicted_peak_mw <= heard_mw:
                return
            assert time.monotonic() < deadline_s, rack
            time.sleep(0.1)


def room_mw(stub: placement_pb2_grpc.PlacementServiceStub) -> int:
    (rack,) = stub.GetHeadroom(pb.GetHeadroomRequest(node_ids=["rack"])).headrooms
    assert not rack.unlimited
    return rack.headroom_mw


def place_many(
    stub: placement_pb2_grpc.PlacementServiceStub, client: str, count: int
) -> tuple[list[pb.Reservation], list[str]]:
    """Place ``count`` at once; returns what was granted and why the others were not."""

    def place(number: int) -> pb.Reservation | str:
        try:
            request = a_request(f"{client}-{number}", f"n{number % HOSTS}")
            return stub.Reserve(request, timeout=60).reservation
        except grpc.RpcError as error:
            return str(error)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(place, range(count)))
    made = [answer for answer in answers if isinstance(answer, pb.Reservation)]
    return made, [answer for answer in answers if isinstance(answer, str)]


def test_two_clients_at_once_never_overshoot_a_nearly_full_rack(tmp_path: Path) -> None:
    with collector(tmp_path, "--topology", topology(tmp_path)) as running:
        ten_minutes(running.address, 0, 1, 2)  # the last one stays silent: its nameplate counts
        with placing(running.address) as one, placing(running.address) as two:
            before_mw = room_mw(one)
            assert 0 < before_mw < 100 * STEP_W * W
            with ThreadPoolExecutor(2) as clients:
                first = clients.submit(place_many, one, "one", 100)
                second = clients.submit(place_many, two, "two", 100)
                made = first.result()[0] + second.result()[0]
                refused = first.result()[1] + second.result()[1]
            assert len(made) + len(refused) == 200
            assert made
            assert refused
            assert room_mw(one) >= 0
            # The rack allows 2,070 W, feed b 1,200 W of half of it: the rack binds.
            assert all("StatusCode.RESOURCE_EXHAUSTED" in words for words in refused)
            assert any("node_id: 'rack' lacks" in words for words in refused)
            granted: dict[str, int] = {}
            for reservation in made:
                for grant in reservation.grants:
                    granted[grant.node_id] = granted.get(grant.node_id, 0) + grant.granted_mw
            assert granted["rack"] == len(made) * STEP_W * W == granted["hall"]
            assert granted["a"] == granted["b"] == granted["rack"] // 2
            listed = one.ListReservations(pb.ListReservationsRequest()).reservations
            assert {r.reservation_id for r in listed} == {r.reservation_id for r in made}
        assert running.stop() == 0
    assert "Traceback" not in running.log.read_text()


def test_reservations_are_as_before_after_a_kill(tmp_path: Path) -> None:
    path = topology(tmp_path)
    ask = pb.ListReservationsRequest()
    with collector(tmp_path, "--topology", path) as running, placing(running.address) as stub:
        ten_minutes(running.address, 0, 1, 2, 3)
        made = [stub.Reserve(a_request(f"k{n}", f"n{n % 2}")).reservation for n in range(5)]
        short = stub.Reserve(a_request("short", "n3", ttl_s=1)).reservation
        commit = pb.CommitRequest(reservation_id=made[1].reservation_id, workload_id="ab" * 16)
        stub.Commit(commit)
        stub.Release(pb.ReleaseRequest(reservation_id=made[2].reservation_id))
        before = stub.ListReservations(ask).reservations
        running.kill()
    deadline_s = short.expires_unix_ns / 1e9
    time.sleep(max(0.0, deadline_s - time.time()))
    with collector(tmp_path, "--topology", path) as running, placing(running.address) as stub:
        kept = [r for r in before if r.reservation_id != short.reservation_id]
        assert list(stub.ListReservations(ask).reservations) == kept
        assert len(kept) == 4
        (rack,) = stub.GetHeadroom(pb.GetHeadroomRequest(node_ids=["rack"])).headrooms
        assert rack.reserved_mw == 4 * STEP_W * W
        # Asked again, every request has the answer that it had, and reserves nothing more.
        again = [stub.Reserve(a_request(f"k{n}", f"n{n % 2}")).reservation for n in range(5)]
        assert [r.reservation_id for r in again] == [r.reservation_id for r in made]
        assert again[0] == made[0]
        assert again[1].state == pb.RESERVATION_STATE_COMMITTED
        assert again[2].state == pb.RESERVATION_STATE_RELEASED
        gone = stub.Reserve(a_request("short", "n3", ttl_s=1)).reservation
        assert gone.state == pb.RESERVATION_STATE_EXPIRED
        assert list(stub.ListReservations(ask).reservations) == kept
    assert "Traceback" not in running.log.read_text()


def test_a_token_of_the_killed_one_goes_on_in_the_next(tmp_path: Path) -> None:
    path = topology(tmp_path)
    with collector(tmp_path, "--topology", path) as running, placing(running.address) as stub:
        token = next(stub.WatchPowerEvents(pb.WatchPowerEventsRequest())).resume_token
        running.kill()
    with collector(tmp_path, "--topology", path) as running, placing(running.address) as stub:
        stream = stub.WatchPowerEvents(pb.WatchPowerEventsRequest(resume_token=token))
        assert next(stream).missed
        # A watcher does not keep a collector from stopping.
        started_s = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - started_s < 15
    assert "Traceback" not in running.log.read_text()
