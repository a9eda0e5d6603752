"""Who calls decides what is shown: operators every second, schedulers whole minutes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from chipwatt.collector.answering import Refused
from chipwatt.collector.egress.config import Tier
from chipwatt.collector.placement.assembly import Placement
from chipwatt.collector.placement.minute_hold import LAG_S
from chipwatt.collector.placement.topology_reload import TopologyFile
from chipwatt.v1 import placement_pb2 as pb
from chipwatt.v1 import placement_pb2_grpc
from fakes.certified import Certified
from unit.collector.placement.fleet import HOSTS, Fleet, W
from unit.collector.placement.hall import a_request

NODES = ["site", "r0", "r1", *(f"h{number}" for number in range(HOSTS))]
PLACED = pb.Demand(inline=pb.InlineProfile(mean_mw=20 * W, peak_mw=40 * W))


class Rig:
    """A fleet and a placement that ticks with it."""

    def __init__(self, folder: Path) -> None:
        self.fleet = Fleet(folder)
        self.fleet.wait(LAG_S - 1)  # a minute has just become final
        self.fleet.history()
        file = TopologyFile(self.fleet.path)
        clock = self.fleet.clock
        self.placement = Placement(self.fleet.latest, clock.unix_ns, folder / "state", file)
        self.placement.begin()
        self.placement.tick()

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.fleet.wait(1)
            self.fleet.hear(self.fleet.now_s, self.fleet.now_s + 1)
            self.placement.tick()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.placement.close()


async def answers(stub: Any) -> list[str]:
    """Ask everything; times and names of snapshots are left out."""
    found = [
        await stub.GetHeadroom(
            pb.GetHeadroomRequest(node_ids=NODES, quantile_ppm=[900_000, 990_000])
        ),
        await stub.RankCandidates(pb.RankCandidatesRequest(demand=PLACED)),
        await stub.WhatIf(
            pb.WhatIfRequest(
                changes=[
                    pb.Change(place=pb.PlaceChange(node_id="h2", demand=PLACED)),
                    pb.Change(cap=pb.CapChange(node_id="h3", cap_mw=120 * W)),
                ]
            )
        ),
    ]
    for node_id in NODES:
        for resolution_s in (1, 10):
            asked = pb.PredictPeakRequest(node_id=node_id, resolution_s=resolution_s)
            found.append(await stub.PredictPeak(asked))
    told = ["granted"]
    try:
        await stub.Reserve(a_request(node_id="r1", watts=1_300))
    except grpc.aio.AioRpcError as refused:
        told = [str(refused.code()), refused.details() or ""]
    for answer in found:
        for name in ("provenance", "snapshot_id", "placement_id"):
            if name in answer.DESCRIPTOR.fields_by_name:
                answer.ClearField(name)
        for headroom in getattr(answer, "headrooms", ()):
            assert headroom.provenance.as_of_unix_ns
            headroom.ClearField("provenance")
        told.append(str(answer))
    return told


@pytest.mark.parametrize("tier", Tier)
def test_a_scheduler_sees_no_seconds(rig: Rig, tmp_path: Path, tier: Tier) -> None:
    certified = Certified(tmp_path)
    tls = certified.collector()
    assert tls.ca
    assert tls.cert
    assert tls.key
    credentials = grpc.ssl_server_credentials(
        [(tls.key.read_bytes(), tls.cert.read_bytes())], tls.ca.read_bytes(), True
    )

    async def play() -> None:
        server = grpc.aio.server()
        port = server.add_secure_port("127.0.0.1:0", credentials)
        with ThreadPoolExecutor(2) as executor:
            rig.placement.serve(server, executor, tier)
            await server.start()
            address = f"127.0.0.1:{port}"
            async with (
                certified.channel(address, "operator/ann") as ann,
                certified.channel(address, "placement/scheduler") as scheduler,
            ):
                exact = placement_pb2_grpc.PlacementServiceStub(ann)
                shown = placement_pb2_grpc.PlacementServiceStub(scheduler)
                first = await answers(exact), await answers(shown)
                rig.run(50)
                later = await answers(exact), await answers(shown)
            await server.stop(None)
        assert first[0] != later[0]
        if tier is Tier.OPERATOR:
            assert (first[0], later[0]) == (first[1], later[1])
        else:
            assert first[1] == later[1]
            assert first[0] != first[1]

    asyncio.run(asyncio.wait_for(play(), 60))


def test_what_one_reserves_the_other_sees_at_once(rig: Rig) -> None:
    exact, shown = rig.placement._exact, rig.placement._shown
    asked = pb.GetHeadroomRequest(node_ids=["r1"])
    before = shown.power.get_headroom(asked).headrooms[0]
    exact.reservations.reserve(a_request("one", "r1", 20))
    shown.reservations.reserve(a_request("two", "r1", 15))
    for desk in (exact, shown):
        assert desk.power.get_headroom(asked).headrooms[0].reserved_mw == 35 * W
        assert (
            len(desk.reservations.list_reservations(pb.ListReservationsRequest()).reservations) == 2
        )
    after = shown.power.get_headroom(asked).headrooms[0]
    assert after.headroom_mw == before.headroom_mw - 35 * W


def test_both_together_grant_no_more_than_there_is(rig: Rig) -> None:
    exact, shown = rig.placement._exact, rig.placement._shown
    asked = pb.GetHeadroomRequest(node_ids=["r1"])
    rooms_mw = [d.power.get_headroom(asked).headrooms[0].headroom_mw for d in (exact, shown)]
    granted: list[str] = []

    def fill(name: str, desk: Any) -> None:
        for number in range(100):
            try:
                desk.reservations.reserve(a_request(f"{name}{number}", "r1", 20))
            except Refused:
                return
            granted.append(name)

    threads = [
        threading.Thread(target=fill, args=each) for each in (("exact", exact), ("shown", shown))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {"exact", "shown"} == set(granted)
    assert len(granted) * 20 * W <= max(rooms_mw) < (len(granted) + 1) * 20 * W


def test_events_are_told_to_schedulers_by_the_minute(rig: Rig) -> None:
    rig.run(70)
    rig.fleet.power = lambda _number, second: (380 if second % 4 < 2 else 340) * W
    rig.run(40)

    def told(desk: Any) -> dict[int, set[str]]:
        found: dict[int, set[str]] = {}
        for event in desk.events._log.after(0)[0]:
            found.setdefault(event.kind, set()).add(event.node_id)
        return found

    exact, shown = told(rig.placement._exact), told(rig.placement._shown)
    assert exact[pb.POWER_EVENT_KIND_OVER_BUDGET] >= {"r0", "r1"}
    assert exact[pb.POWER_EVENT_KIND_RAMP] >= {"r0", "r1"}
    assert not any(nodes & {"r0", "r1"} for nodes in shown.values())
    rig.run(90)
    shown = told(rig.placement._shown)
    assert shown[pb.POWER_EVENT_KIND_THRESHOLD_2] >= {"r0", "r1"}
    assert not shown.get(pb.POWER_EVENT_KIND_RAMP, set()) & {"r0", "r1"}
    advised = [
        advice.cap_mw + advice.expected_saving_mw
        for event in rig.placement._shown.events._log.after(0)[0]
        for advice in event.cap_advice
    ]
    assert advised
    # What a host draws, less what it saves, is its cap: in whole steps of 20 W.
    assert {power_mw % (20 * W) for power_mw in advised} == {0}
