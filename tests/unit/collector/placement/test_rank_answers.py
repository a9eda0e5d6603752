from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest

from chipwatt.collector.answering import Refused
from chipwatt.collector.latest import Latest
from chipwatt.collector.placement.feedback import MIN_REPORTS
from chipwatt.collector.placement.outlooks import Outlooks
from chipwatt.collector.placement.rank_answers import RankAnswers
from chipwatt.collector.placement.topology_reload import TopologyFile
from chipwatt.collector.rings import RING_S
from chipwatt.core.clock import NS_PER_S, VirtualClock
from chipwatt.v1 import placement_pb2 as pb
from fakes.fleet_moment import NOW_S, W, take_seconds
from fakes.telemetry_records import a_host
from unit.collector.placement.test_profiles import CLASS, window_of
from unit.collector.placement.test_rank import demand

TOPOLOGY = "\n".join(
    [
        '[[node]]\nid = "site"\nkind = "site"\nbudget = "3kW"',
        '[[node]]\nid = "r0"\nkind = "rack"\nparents = ["site"]\nbudget = "1kW"',
        *(
            f'[[node]]\nid = "h{n}"\nkind = "host"\nparents = ["r0"]\nhost = "{a_host(n).hex()}"'
            f'\nrated = "800W"\nhw_class = "a100"'
            for n in range(2)
        ),
    ]
)


@dataclass
class Desk:
    answers: RankAnswers
    outlooks: Outlooks
    clock: VirtualClock
    latest: Latest


@pytest.fixture(name="desk")
def a_desk(tmp_path: Path) -> Iterator[Desk]:
    """Answers over two hosts that draw 100 W and 200 W."""
    clock = VirtualClock(NOW_S * NS_PER_S)
    latest = Latest()
    series = np.broadcast_to(np.array([[100 * W], [200 * W]]), (2, RING_S))
    take_seconds(latest, [a_host(0), a_host(1)], NOW_S - RING_S + 1, series, series)
    path = tmp_path / "topology.toml"
    path.write_text(TOPOLOGY)
    outlooks = Outlooks(latest, clock.unix_ns, file=TopologyFile(path))
    outlooks.begin()
    answers = RankAnswers(outlooks, tmp_path / "placement.sqlite", clock.unix_ns)
    yield Desk(answers, outlooks, clock, latest)
    answers.close()


def ranked(desk: Desk, **fields: object) -> pb.RankCandidatesResponse:
    request = pb.RankCandidatesRequest(demand=demand(200 * W), **fields)  # type: ignore[arg-type]
    return desk.answers.rank_candidates(request)


def test_a_rank_names_its_snapshot_and_says_how_far_to_trust_it(desk: Desk) -> None:
    got = ranked(desk)
    assert [c.host_id for c in got.candidates] == ["h0", "h1"]
    assert got.provenance.as_of_unix_ns == NOW_S * NS_PER_S
    assert got.provenance.reporting_ppm == 1_000_000
    assert got.provenance.predictor != pb.PREDICTOR_UNSPECIFIED
    assert desk.outlooks.get(got.snapshot_id) is not None
    assert ranked(desk) == got


def test_a_what_if_looks_at_the_snapshot_of_the_rank(desk: Desk) -> None:
    got = ranked(desk)
    change = pb.Change(place=pb.PlaceChange(node_id="h0", demand=demand(200 * W)))
    request = pb.WhatIfRequest(snapshot_id=got.snapshot_id, changes=[change])
    desk.clock.step_wall(30 * NS_PER_S)
    desk.outlooks.tick()
    answer = desk.answers.what_if(request)
    assert answer.snapshot_id == got.snapshot_id
    after = {e.node_id: e.headroom_after_mw for e in answer.effects}
    assert after["h0"] == got.candidates[0].headroom_after_mw
    assert answer.provenance.as_of_unix_ns == NOW_S * NS_PER_S
    assert answer.provenance.predictor == got.provenance.predictor
    assert answer.provenance.HasField("calibration")


def test_a_snapshot_answers_as_it_did_then(desk: Desk) -> None:
    snapshot_id = ranked(desk, horizon_s=60).snapshot_id

    def asked(**fields: int) -> pb.WhatIfRequest:
        lost = pb.Change(remove=pb.RemoveChange(node_id="h1", power_mw=50 * W))
        return pb.WhatIfRequest(snapshot_id=snapshot_id, changes=[lost], **fields)

    minute, lower = asked(horizon_s=60), asked(horizon_s=60, quantile_ppm=700_000)
    then = desk.answers.what_if(minute)
    then.provenance.ClearField("calibration")
    for _ in range(20):
        desk.clock.sleep_until(desk.clock.mono_ns() + NS_PER_S)
        now_s = desk.clock.unix_ns() // NS_PER_S
        series = np.full((2, 1), 700 * W)
        take_seconds(desk.latest, [a_host(0), a_host(1)], now_s, series, series)
        desk.outlooks.tick()
    again = desk.answers.what_if(minute)
    again.provenance.ClearField("calibration")  # how such predictions have held by now
    assert again == then
    (rack_before_mw,) = (e.peak_before_mw for e in then.effects if e.node_id == "r0")
    (lower_mw,) = (
        e.peak_before_mw for e in desk.answers.what_if(lower).effects if e.node_id == "r0"
    )
    assert lower_mw <= rack_before_mw < 1_400 * W
    with pytest.raises(Refused, match=r"^horizon_s: nobody asked snapshot .* for 3600 s") as no:
        desk.answers.what_if(asked(horizon_s=3_600))
    assert no.value.code is grpc.StatusCode.FAILED_PRECONDITION


def test_a_snapshot_is_kept_for_a_minute(desk: Desk) -> None:
    old = ranked(desk).snapshot_id
    desk.clock.step_wall(61 * NS_PER_S)
    desk.outlooks.tick()
    for name in (old, "never-1"):
        with pytest.raises(Refused, match=r"^snapshot_id: .* is not kept") as refused:
            desk.answers.what_if(pb.WhatIfRequest(snapshot_id=name))
        assert refused.value.code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"horizon_s": 61}, "horizon_s"),
        ({"quantile_ppm": 400_000}, "quantile_ppm"),
        ({"candidates": ["x"] * 200_001}, "candidates"),
    ],
)
def test_a_question_out_of_range_is_refused_by_its_field(
    desk: Desk, fields: dict[str, object], name: str
) -> None:
    with pytest.raises(Refused, match=f"^{name}:"):
        ranked(desk, **fields)


def test_a_new_second_is_laid_out_before_anybody_asks(desk: Desk) -> None:
    ranked(desk)
    desk.clock.step_wall(NS_PER_S)
    desk.answers.tick(desk.outlooks.tick())
    second = ranked(desk)
    assert second.provenance.as_of_unix_ns == (NOW_S + 1) * NS_PER_S
    desk.clock.step_wall(120 * NS_PER_S)
    desk.answers.tick(desk.outlooks.tick())
    assert ranked(desk).provenance.as_of_unix_ns == (NOW_S + 121) * NS_PER_S


def test_reports_of_placements_are_served_with_the_next_rank(desk: Desk) -> None:
    before = ranked(desk).provenance.calibration
    for number in range(MIN_REPORTS):
        name = ranked(desk, limit=1, candidates=[f"x{number}"]).placement_id
        report = pb.SubmitFeedbackRequest(
            placement_id=name, chosen_host_id="h0", violated=number == 0
        )
        assert desk.answers.submit_feedback(report).feedback_count == number + 1
    after = ranked(desk).provenance.calibration
    assert after != before
    assert after.coverage_7d_ppm == 950_000
    assert after.scores == MIN_REPORTS


def test_site_factors_are_given_back_and_count(desk: Desk) -> None:
    carbon = pb.Objective(carbon_ppm=1)
    assert pb.REASON_SITE_FACTORS_MISSING in ranked(desk, objective=carbon).candidates[0].reasons
    with pytest.raises(Refused, match=r"^site_id: nobody has given factors"):
        desk.answers.get_site_factors(pb.GetSiteFactorsRequest(site_id="site"))
    given = pb.SiteFactors(site_id="site", pue_ppm=1_100_000, carbon_mg_per_kwh=1, source="me")
    put = desk.answers.put_site_factors(pb.PutSiteFactorsRequest(factors=given)).factors
    got = desk.answers.get_site_factors(pb.GetSiteFactorsRequest(site_id="site")).factors
    assert got == put
    earlier = pb.GetSiteFactorsRequest(site_id="site", start_unix_ns=1, end_unix_ns=2)
    with pytest.raises(Refused, match=r"^site_id: nobody has given factors of 'site' for then"):
        desk.answers.get_site_factors(earlier)
    first = ranked(desk, objective=carbon).candidates[0]
    assert pb.REASON_SITE_FACTORS_MISSING not in first.reasons
    assert first.score_ppm == 1_000_000


@pytest.mark.parametrize(
    ("site_id", "code"),
    [("r0", grpc.StatusCode.INVALID_ARGUMENT), ("nowhere", grpc.StatusCode.NOT_FOUND)],
)
def test_factors_belong_to_a_site(desk: Desk, site_id: str, code: grpc.StatusCode) -> None:
    factors = pb.SiteFactors(site_id=site_id, pue_ppm=1_100_000)
    with pytest.raises(Refused, match=r"^factors\.site_id:") as refused:
        desk.answers.put_site_factors(pb.PutSiteFactorsRequest(factors=factors))
    assert refused.value.code is code


def test_profiles_are_served_from_five_windows_on(desk: Desk) -> None:
    ask = pb.GetProfileRequest(class_id=CLASS.hex(), hw_class="a100")
    with pytest.raises(Refused, match=r"^class_id: .* fewer than 5 windows") as refused:
        desk.answers.get_profile(ask)
    assert refused.value.code is grpc.StatusCode.NOT_FOUND
    desk.answers.profiles.learn(window_of([0.2, 0.5], n) for n in range(5))
    got = desk.answers.get_profile(ask)
    assert got.profile.windows == 5
    assert got.provenance.as_of_unix_ns > 0
    assert [level.phase for level in got.profile.phases] == [pb.PHASE_IDLE, pb.PHASE_DECODE]
    one = desk.answers.get_profile(
        pb.GetProfileRequest(class_id=CLASS.hex(), hw_class="a100", phase=pb.PHASE_DECODE)
    )
    assert [level.phase for level in one.profile.phases] == [pb.PHASE_DECODE]
    listed = desk.answers.list_profiles(pb.ListProfilesRequest())
    assert [p.hw_class for p in listed.profiles] == ["", "a100"]
    listed = desk.answers.list_profiles(pb.ListProfilesRequest(hw_class="a100"))
    assert list(listed.profiles) == [got.profile]
    in_phase = pb.ListProfilesRequest(hw_class="a100", phase=pb.PHASE_DECODE)
    assert list(desk.answers.list_profiles(in_phase).profiles) == [one.profile]
    in_phase.phase = pb.PHASE_TRAIN_COMM
    assert not desk.answers.list_profiles(in_phase).profiles
    with pytest.raises(Refused, match=r"^phase: 99 is no phase"):
        desk.answers.list_profiles(pb.ListProfilesRequest(phase=pb.Phase.ValueType(99)))


def test_a_workload_is_answered_with_the_profile_of_its_class(desk: Desk) -> None:
    name = (7).to_bytes(16)
    ask = pb.GetProfileRequest(workload_id=name.hex(), hw_class="a100")
    with pytest.raises(Refused, match=r"^workload_id: no minute of workload 0+7 under") as refused:
        desk.answers.get_profile(ask)
    assert refused.value.code is grpc.StatusCode.NOT_FOUND
    desk.answers.profiles.learn([window_of([0.2, 0.5], workload_id=name)])
    with pytest.raises(Refused, match=f"^workload_id: class {CLASS.hex()} has fewer than 5"):
        desk.answers.get_profile(ask)
    desk.answers.profiles.learn(window_of([0.2, 0.5], n) for n in range(1, 5))
    got = desk.answers.get_profile(ask)
    assert got.profile.class_id == CLASS.hex()
    by_class = pb.GetProfileRequest(class_id=CLASS.hex(), hw_class="a100")
    assert got == desk.answers.get_profile(by_class)


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (pb.GetProfileRequest(class_id="x"), "class_id"),
        (pb.GetProfileRequest(), "class_id"),
        (pb.GetProfileRequest(workload_id="x"), "workload_id"),
        (pb.GetProfileRequest(workload_id="a" * 32, class_id="b" * 32), "workload_id"),
        (pb.GetProfileRequest(class_id=CLASS.hex(), hw_class="x" * 65), "hw_class"),
        (pb.GetProfileRequest(class_id=CLASS.hex(), phase=pb.PHASE_PREFILL), "phase"),
    ],
)
def test_a_wrong_question_for_a_profile_is_refused(
    desk: Desk, ask: pb.GetProfileRequest, field: str
) -> None:
    desk.answers.profiles.learn(window_of([0.2, 0.5], n) for n in range(5))
    with pytest.raises(Refused, match=f"^{field}:"):
        desk.answers.get_profile(ask)
