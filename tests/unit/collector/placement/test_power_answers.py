"""GetTopology, WatchTopology, GetHeadroom and PredictPeak as a client sees them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest

from chipwatt.collector.answering import Refused
from chipwatt.collector.forecast.contract import MODEL_VERSION
from chipwatt.collector.placement.assembly import Placement
from chipwatt.collector.placement.power_answers import PowerAnswers
from chipwatt.collector.placement.profiles import Profiles, WorkloadWindow
from chipwatt.collector.placement.topology_reload import TopologyFile
from chipwatt.v1 import placement_pb2 as pb
from chipwatt.v1 import placement_pb2_grpc
from unit.collector.placement.fleet import HOSTS, Fleet, text

EXTRA = """
[[node]]
id = "feed"
kind = "feed"
parents = ["site"]
breaker = { trip_curve = "iec-very-inverse", continuous = "900W" }
redundancy = "2N"
thermal_zone = "aisle"
labels = { room = "3" }
rated = "1000W"
derate = 0.8
[[node]]
id = "g"
kind = "chip"
parents = ["h1"]
rated = "120W"
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    made = Fleet(tmp_path)
    made.path.write_text(text(extra=EXTRA))
    made.outlooks = made.opened()
    made.history()
    made.outlooks.begin()
    return made


@pytest.fixture
def profiles(fleet: Fleet) -> Iterator[Profiles]:
    made = Profiles(fleet.folder / "profiles.sqlite")
    yield made
    made.close()


@pytest.fixture
def power(fleet: Fleet, profiles: Profiles) -> PowerAnswers:
    return PowerAnswers(fleet.outlooks, fleet.latest, profiles, fleet.clock.unix_ns)


def refused(call: object, request: object) -> tuple[grpc.StatusCode, str]:
    assert callable(call)
    with pytest.raises(Refused) as caught:
        call(request)
    return caught.value.code, str(caught.value)


def test_every_field_of_a_node(power: PowerAnswers) -> None:
    answer = power.get_topology(pb.GetTopologyRequest())
    by_id = {node.id: node for node in answer.nodes}
    feed = by_id["feed"]
    assert (feed.breaker.trip_curve_id, feed.breaker.continuous_mw) == ("iec-very-inverse", 900_000)
    assert feed.redundancy == pb.REDUNDANCY_2N
    assert (feed.thermal_zone, dict(feed.labels)) == ("aisle", {"room": "3"})
    assert (feed.rated_mw, feed.derate_ppm, feed.budget_mw) == (1_000_000, 800_000, 800_000)
    assert by_id["g"].kind == pb.NODE_KIND_CHIP
    assert by_id["h1"].hw_class == "x"
    assert by_id["h1"].host_id == "0" * 31 + "1"
    assert answer.version > 0
    assert answer.provenance.reporting_ppm == 1_000_000
    assert answer.provenance.predictor == pb.PREDICTOR_UNSPECIFIED
    assert answer.provenance.model_version == MODEL_VERSION


def test_levels_beneath_a_root(power: PowerAnswers) -> None:
    def ids(**asked: object) -> list[str]:
        return [n.id for n in power.get_topology(pb.GetTopologyRequest(**asked)).nodes]  # type: ignore[arg-type]

    assert ids(depth=1) == ["site", "r0", "r1", "feed"]
    assert ids(root_id="r1", depth=1) == ["r1", "h1", "h3", "h5", "h7"]
    assert ids(root_id="r1") == ["r1", "h1", "h3", "h5", "h7", "g"]


def test_the_topology_of_another_time(power: PowerAnswers, fleet: Fleet) -> None:
    first = power.get_topology(pb.GetTopologyRequest())
    fleet.run(1)
    then = fleet.clock.unix_ns()
    fleet.run(1)
    fleet.path.write_text(text(hosts=HOSTS - 1, extra=EXTRA))
    fleet.run(1)
    now = power.get_topology(pb.GetTopologyRequest())
    assert now.version > first.version
    old = power.get_topology(pb.GetTopologyRequest(as_of_unix_ns=then))
    assert (old.version, len(old.nodes)) == (first.version, len(now.nodes) + 1)
    request = pb.GetTopologyRequest(as_of_unix_ns=1)
    assert refused(power.get_topology, request)[0] is grpc.StatusCode.NOT_FOUND
    request = pb.GetTopologyRequest(as_of_unix_ns=fleet.clock.unix_ns() + 1)
    assert "as_of_unix_ns: " in refused(power.get_topology, request)[1]


def test_a_broken_file_is_told_in_the_answer(power: PowerAnswers, fleet: Fleet) -> None:
    fleet.path.write_text("[[node]")
    fleet.run(1)
    answer = power.get_topology(pb.GetTopologyRequest())
    assert "not valid TOML" in answer.file_error
    assert len(answer.nodes) == HOSTS + 5


def headrooms(power: PowerAnswers, request: pb.GetHeadroomRequest) -> dict[str, pb.Headroom]:
    return {answer.node_id: answer for answer in power.get_headroom(request).headrooms}


def test_headroom_for_several_horizons_and_quantiles(power: PowerAnswers) -> None:
    request = pb.GetHeadroomRequest(
        node_ids=["h1", "r1"], horizon_s=[60, 600], quantile_ppm=[500_000, 900_000]
    )
    got = headrooms(power, request)
    assert list(got) == ["h1", "r1"]
    host = got["h1"]
    assert [(p.horizon_s, p.quantile_ppm) for p in host.predicted] == [
        (60, 500_000), (60, 900_000), (600, 500_000), (600, 900_000),
    ]  # fmt: skip
    assert host.predicted_peak_mw == max(p.peak_mw for p in host.predicted)
    assert host.predicted[0].peak_mw <= host.predicted[1].peak_mw
    rack = got["r1"]
    assert rack.headroom_mw == 1_500_000 - rack.predicted_peak_mw
    assert host.binding_node_id == "h1"  # 300 W of nameplate are its budget
    assert host.headroom_mw == 300_000 - host.predicted_peak_mw
    one = headrooms(power, pb.GetHeadroomRequest(node_ids=["h1"], horizon_s=[60]))["h1"]
    assert one.provenance.predictor == pb.PREDICTOR_CONFORMAL
    assert one.provenance.calibration.scores >= 50
    assert one.provenance.calibration.coverage_7d_ppm > 900_000


def test_nodes_by_selector(power: PowerAnswers) -> None:
    def ids(selector: pb.Selector, *names: str) -> list[str]:
        return list(headrooms(power, pb.GetHeadroomRequest(node_ids=names, selector=selector)))

    assert ids(pb.Selector(kinds=[pb.NODE_KIND_RACK])) == ["r0", "r1"]
    assert ids(pb.Selector(beneath_id="r1", hw_class="x")) == ["h1", "h3", "h5", "h7"]
    assert ids(pb.Selector(labels={"room": "3"})) == ["feed"]
    assert ids(pb.Selector(kinds=[pb.NODE_KIND_HOST]), "h1", "r1") == ["h1"]
    assert len(ids(pb.Selector())) == HOSTS + 5


def test_a_chip_counts_with_its_rating_and_an_empty_feed_with_nothing(power: PowerAnswers) -> None:
    got = headrooms(power, pb.GetHeadroomRequest(node_ids=["g", "feed"]))
    assert (got["g"].predicted_peak_mw, got["g"].provenance.predictor) == (
        120_000, pb.PREDICTOR_NAMEPLATE,
    )  # fmt: skip
    assert (got["feed"].predicted_peak_mw, got["feed"].headroom_mw) == (0, 800_000)
    assert list(got["feed"].provenance.quality) == []


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (pb.GetHeadroomRequest(node_ids=["h99"]), "NOT_FOUND", "node_ids: no power node 'h99'"),
        (pb.GetHeadroomRequest(horizon_s=[61]), "INVALID_ARGUMENT", "horizon_s: 61 s is none of"),
        (pb.GetHeadroomRequest(quantile_ppm=[1]), "INVALID_ARGUMENT", "quantile_ppm: 1 lies"),
        (pb.GetHeadroomRequest(quantile_ppm=[1_000_000]), "INVALID_ARGUMENT", "quantile_ppm: "),
        (pb.GetHeadroomRequest(quantile_ppm=range(500_000, 500_017)), "INVALID_ARGUMENT",
         "quantile_ppm: 1 horizons with 17 quantiles"),
        (pb.GetHeadroomRequest(node_ids=["x"] * 10_001), "INVALID_ARGUMENT", "node_ids: 10001"),
        (pb.GetHeadroomRequest(selector=pb.Selector(beneath_id="r9")), "NOT_FOUND",
         "selector.beneath_id: no power node 'r9'"),
    ],
)  # fmt: skip
def test_what_headroom_refuses(
    power: PowerAnswers, request_: pb.GetHeadroomRequest, code: str, words: str
) -> None:
    status, message = refused(power.get_headroom, request_)
    assert status.name == code
    assert message.startswith(words)


def test_a_peak_comes_in_parts(power: PowerAnswers) -> None:
    answer = power.predict_peak(pb.PredictPeakRequest(node_id="h2", horizon_s=60))
    assert [p.quantile_ppm for p in answer.peaks] == [500_000, 900_000, 950_000, 990_000]
    values = [p.peak_mw for p in answer.peaks]
    assert values == sorted(values)
    parts = answer.base_mw + answer.time_of_day_mw + answer.margin_mw
    assert parts == pytest.approx(answer.peaks[0].peak_mw, abs=2)
    assert answer.time_of_peak_unix_ns == 0  # no day has gone by yet
    assert 100_000 < answer.mean_mw < 180_000
    cold = power.predict_peak(pb.PredictPeakRequest(node_id="site", horizon_s=10_800))
    assert cold.base_mw + cold.margin_mw == cold.peaks[0].peak_mw
    assert pb.QUALITY_COLD_START in cold.provenance.quality


def test_longer_bins_have_lower_peaks(power: PowerAnswers) -> None:
    def peak(resolution_s: int) -> int:
        request = pb.PredictPeakRequest(node_id="r0", horizon_s=60, resolution_s=resolution_s)
        return power.predict_peak(request).peaks[-1].peak_mw

    peaks = [peak(resolution_s) for resolution_s in (1, 10, 60, 300)]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[0] > peaks[-1]
    mean_mw = power.predict_peak(pb.PredictPeakRequest(node_id="r0", horizon_s=60)).mean_mw
    assert peaks[-1] >= mean_mw


def test_the_peak_of_a_class_is_of_the_quantile_and_the_horizon(
    power: PowerAnswers, profiles: Profiles
) -> None:
    class_id = secrets.token_bytes(16)
    request = pb.PredictPeakRequest(class_id=class_id.hex())
    assert refused(power.predict_peak, request)[0] is grpc.StatusCode.NOT_FOUND
    window = WorkloadWindow(
        class_id=class_id, hw_class="x", start_unix_ns=0, duration_ns=60_000_000_000,
        energy_uj=60 * 350_000_000, occupancy=(0, 0, 0, 16, 16, 0, 0, 0), swing_class=0,
        limit_mw=800_000,
    )  # fmt: skip
    profiles.learn([window] * 5)
    few = power.predict_peak(request)
    assert {p.peak_mw for p in few.peaks} == {500_000}  # five minutes say nothing of ten
    assert few.base_mw + few.margin_mw == 500_000
    calm = replace(window, occupancy=(0, 0, 0, 32, 0, 0, 0, 0))
    profiles.learn([calm] * 94)  # one minute in twenty is high

    def peaks(horizon_s: int) -> list[int]:
        asked = pb.PredictPeakRequest(
            class_id=class_id.hex(), horizon_s=horizon_s, quantile_ppm=[500_000, 900_000, 990_000]
        )
        answer = power.predict_peak(asked)
        assert answer.base_mw + answer.margin_mw == answer.peaks[0].peak_mw
        return [p.peak_mw for p in answer.peaks]

    assert peaks(60) == [400_000, 400_000, 500_000]
    assert peaks(600) == [500_000, 500_000, 500_000]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (pb.PredictPeakRequest(), "subject: give node_id or class_id"),
        (pb.PredictPeakRequest(node_id="h99"), "node_id: no power node 'h99'"),
        (pb.PredictPeakRequest(class_id="zz"), "class_id: a class id is 32 hexadecimal digits"),
        (pb.PredictPeakRequest(node_id="h1", resolution_s=2), "resolution_s: 2 s is none of"),
        (pb.PredictPeakRequest(node_id="h1", horizon_s=1), "horizon_s: 1 s is none of"),
        (pb.PredictPeakRequest(node_id="h1", quantile_ppm=[1]), "quantile_ppm: 1 lies"),
        (pb.PredictPeakRequest(node_id="h1", quantile_ppm=[990_000] * 17), "quantile_ppm: 17"),
    ],
)
def test_what_a_peak_is_refused_for(
    power: PowerAnswers, request_: pb.PredictPeakRequest, words: str
) -> None:
    assert refused(power.predict_peak, request_)[1].startswith(words)


def test_a_watcher_is_told_of_each_new_topology(fleet: Fleet) -> None:
    placement = Placement(
        fleet.latest, fleet.clock.unix_ns, fleet.folder / "state", TopologyFile(fleet.path)
    )

    async def run() -> None:
        server = grpc.aio.server()
        port = server.add_insecure_port("127.0.0.1:0")
        with ThreadPoolExecutor(2) as executor:
            placement.serve(server, executor)
            await server.start()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = placement_pb2_grpc.PlacementServiceStub(channel)
                stream = stub.WatchTopology(pb.WatchTopologyRequest(root_id="r1"))
                first = await stream.read()
                assert isinstance(first, pb.WatchTopologyResponse)
                assert len(first.topology.nodes) == 6
                fleet.path.write_text(text(hosts=HOSTS - 1))
                placement.tick()
                second = await stream.read()
                assert isinstance(second, pb.WatchTopologyResponse)
                assert len(second.topology.nodes) == 4
                assert second.topology.version > first.topology.version
                fleet.path.write_text(text().replace('"r1"', '"r2"'))
                placement.tick()
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stream.read()
                assert caught.value.code() is grpc.StatusCode.NOT_FOUND
                assert "root_id: no power node 'r1'" in (caught.value.details() or "")
            await server.stop(None)

    asyncio.run(run())
    placement.close()
    placement.tick()  # a late tick finds it closed
