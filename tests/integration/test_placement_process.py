"""Placement in a collector process: kills and restarts, silent hosts, a file that changes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import grpc
import pytest

from chipwatt.v1 import placement_pb2 as pb
from chipwatt.v1 import placement_pb2_grpc
from fakes.agent_stream import send
from fakes.collector_process import Running, collector
from fakes.telemetry_records import a_host, steady

T = TypeVar("T")
W = 1_000
HOSTS = 8
Stub = placement_pb2_grpc.PlacementServiceStub


def topology(rack_w: int = 2_000) -> str:
    """Return a site with racks r0 (even hosts) and r1 (odd ones)."""
    racks = "".join(
        f"  - {{id: r{n}, kind: rack, parents: [site], budget: {rack_w}W}}\n" for n in range(2)
    )
    hosts = "".join(
        f"  - {{id: h{n}, kind: host, parents: [r{n % 2}], rated: 300W, host: {a_host(n + 1).hex()}"
        f", hw_class: x}}\n"
        for n in range(HOSTS)
    )
    return f"node:\n  - {{id: site, kind: site, budget: 5kW}}\n{racks}{hosts}"


def power(number: int, second: int) -> tuple[int, int]:
    """Return mean and in-bin peak of a host, in no order but always the same."""
    mean_mw = 100 * W + (number * 7_919 + second * 104_729) % 80_000
    return mean_mw, mean_mw + 5 * W


class Agents:
    """Hosts that report what they draw; each remembers what it has sent."""

    def __init__(self, start_s: int) -> None:
        self._next_s = dict.fromkeys(range(HOSTS), start_s)
        self._sequence = dict.fromkeys(range(HOSTS), 1)

    def report(self, address: str, end_s: int, *numbers: int) -> None:
        """Send every second before ``end_s``, in batches of a minute."""
        for number in numbers or range(HOSTS):
            first_s = self._next_s[number]
            batches = [
                steady(at, [power(number, s) for s in range(at, min(at + 60, end_s))])
                for at in range(first_s, end_s, 60)
            ]
            if batches:
                sequence = self._sequence[number]
                answers = send(address, a_host(number + 1), batches, first_sequence=sequence)
                assert answers.acked == sequence + len(batches) - 1
                self._sequence[number] = sequence + len(batches)
                self._next_s[number] = end_s


@contextmanager
def stub_of(running: Running) -> Iterator[Stub]:
    with grpc.insecure_channel(running.address) as channel:
        yield Stub(channel)


def until(question: Callable[[], T], right: Callable[[T], bool]) -> T:
    """Ask again until the answer is right: the collector works once a second."""
    deadline_s = time.monotonic() + 30
    while not right(found := question()):
        assert time.monotonic() < deadline_s, found
        time.sleep(0.1)
    return found


def host_headroom(stub: Stub, node_id: str = "h1") -> pb.Headroom:
    request = pb.GetHeadroomRequest(node_ids=[node_id], horizon_s=[60], quantile_ppm=[900_000])
    return stub.GetHeadroom(request).headrooms[0]


def is_calibrated(headroom: pb.Headroom) -> bool:
    """Whether the forecast answers and every host is heard from."""
    provenance = headroom.provenance
    known = provenance.predictor == pb.PREDICTOR_CONFORMAL
    return known and provenance.reporting_ppm == 1_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "topology.yaml").write_text(topology())
    return tmp_path


def test_a_killed_collector_knows_what_it_knew(folder: Path) -> None:
    options = ("--topology", str(folder / "topology.yaml"))
    agents = Agents(int(time.time()) - 600)
    with collector(folder, *options) as one:
        agents.report(one.address, int(time.time()))
        one.kill()
    with collector(folder, *options) as two, stub_of(two) as stub:
        agents.report(two.address, int(time.time()))
        before = until(lambda: host_headroom(stub), is_calibrated)
        reserved = stub.Reserve(
            pb.ReserveRequest(
                idempotency_key="k",
                node_id="r1",
                demand=pb.Demand(inline=pb.InlineProfile(peak_mw=200 * W)),
                ttl_s=3_600,
            )
        ).reservation
        until((folder / "state" / "forecast.npz").exists, bool)
        two.kill()
    with collector(folder, *options) as three, stub_of(three) as stub:
        agents.report(three.address, int(time.time()))
        after = until(lambda: host_headroom(stub), is_calibrated)
        scores = after.provenance.calibration.scores
        assert scores >= before.provenance.calibration.scores >= 50
        coverage = before.provenance.calibration.coverage_7d_ppm
        assert after.provenance.calibration.coverage_7d_ppm == pytest.approx(coverage, abs=30_000)
        # The load does not change; a few seconds more move its level a little.
        assert after.predicted_peak_mw == pytest.approx(before.predicted_peak_mw, rel=0.03)
        (kept,) = stub.ListReservations(pb.ListReservationsRequest()).reservations
        assert kept == reserved
        assert host_headroom(stub, "r1").reserved_mw == 200 * W
        assert three.stop() == 0
    log = three.log.read_text()
    assert "Traceback" not in log
    assert "forecast starts cold: no state file yet" in log
    assert "state file refused" not in log


def test_half_a_rack_is_silent(folder: Path) -> None:
    now_s = int(time.time())
    agents = Agents(now_s - 600)
    with (
        collector(folder, "--topology", str(folder / "topology.yaml")) as running,
        stub_of(running) as stub,
    ):
        agents.report(running.address, now_s - 60, 0, 2)
        agents.report(running.address, now_s, 1, 3, 4, 5, 6, 7)
        found = host_headroom(stub, "r0")
        assert found.provenance.reporting_ppm == 500_000
        quality = list(found.provenance.quality)
        assert pb.QUALITY_STALE in quality
        assert pb.QUALITY_PARTIAL in quality
        assert found.provenance.staleness_ms >= 60_000
        # Two nameplates, and what the other two draw.
        assert found.predicted_peak_mw >= 600 * W + 200 * W
        assert found.headroom_mw <= 2_000 * W - 800 * W
        silent = host_headroom(stub, "h0")
        assert silent.predicted_peak_mw == 300 * W
        assert silent.provenance.predictor == pb.PREDICTOR_NAMEPLATE
        other = host_headroom(stub, "r1")
        assert other.provenance.reporting_ppm == 1_000_000
        assert other.predicted_peak_mw < 800 * W


def test_the_topology_file_is_followed(folder: Path) -> None:
    path = folder / "topology.yaml"
    with collector(folder, "--topology", str(path)) as running, stub_of(running) as stub:

        def asked() -> pb.GetTopologyResponse:
            return stub.GetTopology(pb.GetTopologyRequest())

        first = asked()
        path.write_text(topology(rack_w=1_900))
        second = until(asked, lambda answer: answer.version != first.version)
        assert {n.budget_mw for n in second.nodes if n.kind == pb.NODE_KIND_RACK} == {1_900 * W}
        path.write_text(topology() + "  - {id: h9, kind: host, parents: [r9]}\n")
        broken = until(asked, lambda answer: bool(answer.file_error))
        assert broken.version == second.version
        assert "topology.yaml:13: node 'h9' has an unknown parent 'r9'" in broken.file_error
        path.write_text(topology(rack_w=1_800))
        running.process.send_signal(signal.SIGHUP)
        third = until(asked, lambda answer: answer.version > second.version)
        assert third.file_error == ""
        assert running.stop() == 0
    assert "Traceback" not in running.log.read_text()
