from __future__ import annotations

from collections.abc import Mapping, Sequence

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.answering import Refused
from chipwatt.collector.placement.outlook import Outlook
from chipwatt.collector.placement.rank import EXACT, Ranker, placement_id
from chipwatt.collector.placement.score import PARTS, SiteCost
from chipwatt.collector.placement.topology import NodeKind, Parent, PowerNode, Topology
from chipwatt.collector.placement.ways import ways_up
from chipwatt.core.tables import Array
from chipwatt.v1 import placement_pb2 as pb
from fakes.fleet_moment import W, dual_fed_rooms, outlook_of
from unit.collector.placement.test_demand import NoProfiles
from unit.collector.placement.test_topology import graphs

QUANTILE = 0.99
CALM = {"h0": 100 * W, "h1": 100 * W, "h2": 500 * W, "h3": 500 * W}


def demand(peak_mw: int = 300 * W, mean_mw: int = 0, swing_class: int = 0) -> pb.Demand:
    inline = pb.InlineProfile(mean_mw=mean_mw, peak_mw=peak_mw, swing_class=swing_class)
    return pb.Demand(inline=inline)


def rank(
    outlook: Outlook,
    of: pb.Demand | None = None,
    candidates: Sequence[str] = (),
    costs: Mapping[str, SiteCost] | None = None,
    objective: pb.Objective | None = None,
    limit: int = 0,
) -> list[pb.Candidate]:
    request = pb.RankCandidatesRequest(
        demand=of or demand(), candidates=candidates, objective=objective, limit=limit
    )
    known = dict(costs or {})
    return Ranker(NoProfiles(), lambda *_: known).rank(outlook, 600, QUANTILE, request).candidates


def test_parts_are_those_of_the_wire() -> None:
    assert [f"{name}_ppm" for name in PARTS] == [f.name for f in pb.ScoreParts.DESCRIPTOR.fields]
    assert [f"{name}_ppm" for name in PARTS] == [f.name for f in pb.Objective.DESCRIPTOR.fields]


def test_the_emptier_rack_comes_first_and_equals_in_the_order_of_the_topology() -> None:
    outlook = outlook_of(dual_fed_rooms(rack_mw=1_400 * W), CALM)
    got = rank(outlook)
    assert [c.host_id for c in got] == ["h0", "h1", "h2", "h3"]
    assert got[0].score_ppm == got[1].score_ppm > got[2].score_ppm == got[3].score_ppm
    assert got[0].tightest_ancestor_id == "r0"
    assert got[0].headroom_after_mw == (1_400 - 200 - 300) * W
    assert got[0].marginal_peak_mw == 300 * W
    assert got[0].explanation == "fits; leaves 900 W at rack r0"


def test_what_breaks_a_budget_says_where_and_by_how_much() -> None:
    outlook = outlook_of(dual_fed_rooms(rack_mw=1_200 * W), CALM)
    got = {c.host_id: c for c in rank(outlook)}
    assert got["h0"].feasible
    assert not got["h2"].feasible
    assert got["h2"].score_ppm == 0
    assert got["h2"].headroom_after_mw == -100 * W
    assert pb.REASON_OVER_BUDGET in got["h2"].reasons
    assert got["h2"].explanation == "rack r1 q99 peak 1.3 kW > budget 1.2 kW"


def test_a_feed_carries_its_share_only() -> None:
    outlook = outlook_of(dual_fed_rooms(pdu_mw=800 * W), CALM)
    got = rank(outlook)[0]
    assert got.tightest_ancestor_id == "pdu-a"
    assert got.marginal_peak_mw == 150 * W
    assert got.headroom_after_mw == (800 - 600 - 150) * W


def test_what_is_reserved_is_not_given_twice() -> None:
    topology = dual_fed_rooms(rack_mw=1_200 * W)
    reserved = outlook_of(topology, CALM, {"r0": 701 * W})
    got = {c.host_id: c for c in rank(reserved)}
    assert not got["h0"].feasible
    assert got["h0"].explanation == (
        "rack r0 q99 peak 1.201 kW with 701 W reserved > budget 1.2 kW"
    )


def test_one_milliwatt_decides() -> None:
    outlook = outlook_of(dual_fed_rooms(rack_mw=500 * W), CALM)
    assert rank(outlook, demand(300 * W))[0].feasible
    over = rank(outlook, demand(300 * W + 1))[0]
    assert not over.feasible
    assert over.explanation == "rack r0 q99 peak 500001 mW > budget 500000 mW"


def test_a_demand_that_no_budget_holds_back_fits_and_says_so() -> None:
    got = rank(outlook_of(dual_fed_rooms(), CALM))[0]
    assert got.feasible
    assert got.tightest_ancestor_id == ""
    assert pb.REASON_NO_BUDGET in got.reasons
    assert got.parts.headroom_ppm == 1_000_000


def test_hosts_that_are_not_heard_from_are_said() -> None:
    topology = dual_fed_rooms(rack_mw=3_000 * W, host_mw=1_000 * W)
    got = {c.host_id: c for c in rank(outlook_of(topology, {"h0": 100 * W, "h2": 100 * W}))}
    assert pb.REASON_STALE not in got["h0"].reasons
    assert pb.REASON_STALE in got["h1"].reasons
    assert not got["h1"].feasible  # counted with its nameplate


def test_ten_thousand_candidates_of_which_one_is_known() -> None:
    outlook = outlook_of(dual_fed_rooms(rack_mw=1_400 * W), CALM)
    names = [f"nobody-{n}" for n in range(9_998)]
    got = rank(outlook, candidates=[*names, "r0", "h3"])
    assert len(got) == 10_000
    assert got[0].host_id == "h3"
    assert got[0].feasible
    assert [c.host_id for c in got[1:]] == [*names, "r0"]
    assert {tuple(c.reasons) for c in got[1:]} == {(pb.REASON_UNKNOWN_HOST,)}
    assert not any(c.feasible for c in got[1:])
    assert got[1].explanation == "the topology has no such host"
    assert got[-1].explanation == "it is a rack, not a host"


def test_a_candidate_named_twice_is_answered_once() -> None:
    outlook = outlook_of(dual_fed_rooms(rack_mw=1_400 * W), CALM)
    assert [c.host_id for c in rank(outlook, candidates=["h1", "x", "h1", "x"])] == ["h1", "x"]


def test_a_spike_of_the_residents_is_missed_more_often_than_their_level() -> None:
    topology = dual_fed_rooms(rack_mw=2_000 * W)
    spiky = np.full(600, 100 * W)
    spiky[300] = 900 * W
    powers: dict[str, Array | int] = {"h0": spiky, "h1": 100 * W, "h2": 500 * W, "h3": 500 * W}
    got = {c.host_id: c for c in rank(outlook_of(topology, powers), demand(400 * W, 100 * W))}
    # Both racks peak at a kilowatt; a load that is up a quarter of the time meets r1's always.
    assert got["h0"].parts.coincidence_ppm == pytest.approx(750_000, abs=2)
    assert got["h2"].parts.coincidence_ppm == 0
    assert got["h0"].headroom_after_mw == got["h2"].headroom_after_mw
    assert got["h0"].score_ppm > got["h2"].score_ppm


def test_a_longer_answer_begins_with_the_shorter_one() -> None:
    hosts = EXACT + 50
    rng = np.random.default_rng(5)
    topology = dual_fed_rooms(rack_mw=hosts * 400 * W, host_mw=1_000 * W, hosts=hosts)
    powers = {f"h{h}": rng.integers(100 * W, (101 + h) * W, 600) for h in range(hosts)}
    outlook = outlook_of(topology, powers)
    whole = rank(outlook, limit=0)
    assert len(whole) == hosts
    assert [c.score_ppm for c in whole] == sorted((c.score_ppm for c in whole), reverse=True)
    for limit in (1, 10, EXACT, EXACT + 20):
        assert rank(outlook, limit=limit) == whole[:limit]


def test_carbon_counts_where_it_is_known() -> None:
    nodes = [PowerNode(f"site-{s}", NodeKind.SITE, budget_mw=2_000 * W) for s in "xyz"]
    nodes += [PowerNode(f"h{s}", NodeKind.HOST, (Parent(f"site-{s}"),)) for s in "xyz"]
    outlook = outlook_of(Topology(nodes), {f"h{s}": 100 * W for s in "xyz"})
    costs = {"site-x": SiteCost(400.0, 1.0), "site-y": SiteCost(100.0, 0.0)}
    got = rank(outlook, objective=pb.Objective(carbon_ppm=1_000_000), costs=costs)
    assert [(c.host_id, c.score_ppm) for c in got] == [
        ("hy", 1_000_000), ("hx", 250_000), ("hz", 0)
    ]  # fmt: skip
    missing = [pb.REASON_SITE_FACTORS_MISSING in c.reasons for c in got]
    assert missing == [False, False, True]


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (pb.Objective(), "objective: every weight is 0"),
        (pb.Objective(swing_ppm=1_000_001), "objective.swing_ppm: 1000001, at most 1000000"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(objective: pb.Objective, message: str) -> None:
    outlook = outlook_of(dual_fed_rooms(), CALM)
    with pytest.raises(Refused, match=f"^{message}") as refused:
        rank(outlook, objective=objective)
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT


@settings(max_examples=40, deadline=None)
@given(graphs(), st.integers(1, 10**7), st.integers(0, 2**32))
def test_what_fits_leaves_room_at_every_budget_above(
    nodes: list[PowerNode], peak_mw: int, seed: int
) -> None:
    topology = Topology(nodes)
    rng = np.random.default_rng(seed)
    hosts = [topology.nodes[i].id for i in topology.hosts.tolist()]
    outlook = outlook_of(topology, {h: rng.integers(0, 10**6, 600) for h in hosts})
    free = outlook.free_mw(600, QUANTILE)
    got = rank(outlook, demand(peak_mw))
    assert sorted(c.host_id for c in got) == sorted(hosts)
    for candidate in got:
        at, share = ways_up(topology, topology.index[candidate.host_id])
        least = np.floor((free[at] - share * peak_mw).min() + 1e-3)
        assert candidate.feasible == (least >= 0)
        assert candidate.headroom_after_mw == (0 if np.isinf(least) else least)
        assert (pb.REASON_NO_BUDGET in candidate.reasons) == np.isinf(least)
        assert 0 <= candidate.score_ppm <= 1_000_000
        assert candidate.feasible or candidate.score_ppm == 0


def test_the_same_question_to_the_same_snapshot_is_the_same_decision() -> None:
    outlook = outlook_of(dual_fed_rooms(rack_mw=1_400 * W), CALM)
    request = pb.RankCandidatesRequest(demand=demand(), limit=2)
    assert rank(outlook, limit=2) == rank(outlook, limit=2)
    name = placement_id(outlook.id, 600, 990_000, request)
    assert name == placement_id(outlook.id, 600, 990_000, request)
    assert name != placement_id("another", 600, 990_000, request)
