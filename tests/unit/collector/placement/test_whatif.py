from __future__ import annotations

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.answering import Refused
from chipwatt.collector.placement.outlook import Outlook
from chipwatt.collector.placement.rank import Ranker
from chipwatt.collector.placement.topology import NodeKind, Parent, PowerNode, Topology
from chipwatt.collector.placement.whatif import what_if
from chipwatt.core.tables import Array
from chipwatt.v1 import placement_pb2 as pb
from fakes.fleet_moment import W, dual_fed_rooms, outlook_of
from unit.collector.placement.test_demand import NoProfiles
from unit.collector.placement.test_rank import CALM, demand, rank
from unit.collector.placement.test_topology import graphs

ALL = {"site_mw": 4_000 * W, "pdu_mw": 2_000 * W, "rack_mw": 1_500 * W, "host_mw": 1_000 * W}


def place(node_id: str, peak_mw: int = 300 * W) -> pb.Change:
    return pb.Change(place=pb.PlaceChange(node_id=node_id, demand=demand(peak_mw)))


def remove(node_id: str, power_mw: int) -> pb.Change:
    return pb.Change(remove=pb.RemoveChange(node_id=node_id, power_mw=power_mw))


def cap(node_id: str, cap_mw: int) -> pb.Change:
    return pb.Change(cap=pb.CapChange(node_id=node_id, cap_mw=cap_mw))


def loss(node_id: str) -> pb.Change:
    return pb.Change(feed_loss=pb.FeedLoss(node_id=node_id))


def tried(outlook: Outlook, *changes: pb.Change) -> pb.WhatIfResponse:
    return what_if(outlook, 600, 0.99, NoProfiles(), pb.WhatIfRequest(changes=changes))


def effects(outlook: Outlook, *changes: pb.Change) -> dict[str, pb.NodeEffect]:
    return {e.node_id: e for e in tried(outlook, *changes).effects}


@pytest.fixture(name="outlook")
def an_outlook() -> Outlook:
    return outlook_of(dual_fed_rooms(**ALL), CALM)


def test_placing_shows_at_the_host_and_everything_above_it(outlook: Outlook) -> None:
    got = tried(outlook, place("h0"))
    assert [e.node_id for e in got.effects] == ["site", "pdu-a", "pdu-b", "r0", "h0"]
    by_id = {e.node_id: e for e in got.effects}
    rises = [by_id[n].peak_after_mw - by_id[n].peak_before_mw for n in by_id]
    assert rises == [300 * W, 150 * W, 150 * W, 300 * W, 300 * W]
    assert by_id["h0"].headroom_after_mw == (1_000 - 100 - 300) * W
    assert got.first_violated_id == ""
    assert got.snapshot_id == "moment-1"


def test_the_first_budget_that_breaks_is_named(outlook: Outlook) -> None:
    got = tried(outlook, place("h2", 501 * W))
    assert got.first_violated_id == "r1"
    by_id = {e.node_id: e for e in got.effects}
    assert by_id["r1"].headroom_after_mw == -1 * W
    assert by_id["h2"].headroom_after_mw == -1 * W
    assert by_id["r1"].exceed_after_ppm == 1_000_000
    above = [e for e in got.effects if e.node_id not in ("r1", "h2")]
    assert above
    assert {e.first_violated_id for e in above} == {""}
    assert [by_id[name].first_violated_id for name in ("r1", "h2")] == ["r1", "h2"]
    less = pb.Change(budget=pb.BudgetChange(node_id="r1", budget_mw=100 * W))
    below = effects(outlook, less, place("h2", 10 * W))["h2"]
    assert (below.first_violated_id, below.headroom_before_mw > 0) == ("r1", True)


def test_a_move_leaves_what_carries_both_as_it_was(outlook: Outlook) -> None:
    change = pb.Change(move=pb.MoveChange(from_node_id="h2", to_node_id="h0", power_mw=200 * W))
    got = effects(outlook, change)
    assert sorted(got) == ["h0", "h2", "r0", "r1"]
    assert got["r1"].peak_after_mw == 800 * W
    assert got["r0"].peak_after_mw == 400 * W


def test_another_budget_is_felt_where_it_stands(outlook: Outlook) -> None:
    change = pb.Change(budget=pb.BudgetChange(node_id="r1", budget_mw=900 * W))
    got = tried(outlook, change)
    assert [e.node_id for e in got.effects] == ["r1"]
    assert got.effects[0].headroom_before_mw == 500 * W
    assert got.effects[0].headroom_after_mw == -100 * W
    assert got.first_violated_id == "r1"
    none = pb.Change(budget=pb.BudgetChange(node_id="site", budget_mw=0))
    assert effects(outlook, none)["site"].unlimited


def test_a_cap_relieves_what_is_above_by_no_more_than_its_histories_show() -> None:
    one, other = np.full(600, 200 * W), np.full(600, 200 * W)
    one[100], other[400] = 800 * W, 800 * W
    powers: dict[str, Array | int] = {"h0": one, "h1": other, "h2": 500 * W, "h3": 500 * W}
    outlook = outlook_of(dual_fed_rooms(**ALL), powers)
    got = effects(outlook, cap("h0", 300 * W))
    assert got["h0"].peak_after_mw == 300 * W
    assert "r0" not in got  # at second 400 its other host is as high as ever
    both = effects(outlook, cap("h0", 300 * W), cap("h1", 300 * W))
    assert both["r0"].peak_before_mw == 1_000 * W
    assert both["r0"].peak_after_mw == 500 * W
    assert effects(outlook, cap("h2", 600 * W)) == {}


def test_a_lost_feed_goes_to_the_other_one(outlook: Outlook) -> None:
    got = tried(outlook, loss("pdu-a"))
    by_id = {e.node_id: e for e in got.effects}
    assert sorted(by_id) == ["pdu-a", "pdu-b"]  # the site carries what it carried
    assert by_id["pdu-a"].peak_after_mw == 0
    assert by_id["pdu-b"].peak_before_mw == 600 * W
    assert by_id["pdu-b"].peak_after_mw == 1_200 * W
    assert by_id["pdu-b"].headroom_after_mw == 800 * W
    assert got.unpowered_ids == []


def test_a_feed_that_carried_next_to_nothing_takes_over_no_more_than_there_is() -> None:
    supplies = (Parent("spare", "A", 1), Parent("main", "B", 999_999))
    feeds = [PowerNode(name, NodeKind.PDU) for name in ("spare", "main")]
    rack = PowerNode("rack", NodeKind.RACK, supplies)
    host = PowerNode("h0", NodeKind.HOST, (Parent("rack"),))
    outlook = outlook_of(Topology([*feeds, rack, host]), {"h0": 30_100})  # 0.03 mW of it, then all
    got = effects(outlook, loss("main"))
    assert got["spare"].peak_before_mw == 1
    assert got["spare"].peak_after_mw == pytest.approx(got["main"].peak_before_mw, rel=1e-4)
    assert got["main"].peak_after_mw == 0


def test_what_nothing_feeds_is_told(outlook: Outlook) -> None:
    got = tried(outlook, loss("r1"))
    assert got.unpowered_ids == ["h2", "h3"]
    by_id = {e.node_id: e for e in got.effects}
    assert sorted(by_id) == ["pdu-a", "pdu-b", "r1", "site"]
    assert by_id["site"].peak_after_mw == 200 * W
    assert by_id["r1"].exceed_after_ppm == 0
    both = tried(outlook, loss("pdu-a"), loss("pdu-b"))
    assert both.unpowered_ids == ["r0", "r1", "h0", "h1", "h2", "h3"]


def test_after_a_lost_feed_power_goes_the_way_that_is_left(outlook: Outlook) -> None:
    got = effects(outlook, loss("pdu-a"), place("h0"))
    assert got["pdu-b"].peak_after_mw == 1_500 * W
    assert got["pdu-a"].peak_after_mw == 0
    first = effects(outlook, place("h0"), loss("pdu-a"))
    assert first["pdu-b"].peak_after_mw == 1_500 * W


def test_reservations_go_the_way_that_is_left() -> None:
    reserved = {"r0": 400 * W, "pdu-a": 200 * W, "pdu-b": 200 * W, "site": 400 * W}
    outlook = outlook_of(dual_fed_rooms(**ALL), CALM, reserved)
    got = effects(outlook, loss("pdu-a"))
    assert got["pdu-b"].headroom_before_mw == (2_000 - 600 - 200) * W
    assert got["pdu-b"].headroom_after_mw == (2_000 - 1_200 - 400) * W


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        (pb.Change(), grpc.StatusCode.INVALID_ARGUMENT, r"changes\[0\].kind"),
        (place("nowhere"), grpc.StatusCode.NOT_FOUND, r"changes\[0\].place.node_id"),
        (
            pb.Change(place=pb.PlaceChange(node_id="h0")),
            grpc.StatusCode.INVALID_ARGUMENT,
            r"changes\[0\].place.demand.profile",
        ),
        (remove("h0", 0), grpc.StatusCode.INVALID_ARGUMENT, r"changes\[0\].remove.power_mw"),
        (
            remove("h0", 101 * W),
            grpc.StatusCode.INVALID_ARGUMENT,
            r"changes\[0\].remove.power_mw: 101000, but 'h0' peaks at 100 W",
        ),
        (cap("h0", 0), grpc.StatusCode.INVALID_ARGUMENT, r"changes\[0\].cap.cap_mw"),
        (loss("pdu-c"), grpc.StatusCode.NOT_FOUND, r"changes\[0\].feed_loss.node_id"),
        (
            pb.Change(budget=pb.BudgetChange(node_id="h0", budget_mw=2**63)),
            grpc.StatusCode.INVALID_ARGUMENT,
            r"changes\[0\].budget.budget_mw",
        ),
    ],
)
def test_a_wrong_change_is_refused_by_its_field(
    outlook: Outlook, change: pb.Change, code: grpc.StatusCode, field: str
) -> None:
    with pytest.raises(Refused, match=f"^{field}") as refused:
        tried(outlook, change)
    assert refused.value.code is code


def test_what_has_lost_its_power_cannot_be_changed(outlook: Outlook) -> None:
    with pytest.raises(Refused, match=r"^changes\[1\].place.node_id: 'h2' has no power"):
        tried(outlook, loss("r1"), place("h2"))


def test_no_change_is_no_question(outlook: Outlook) -> None:
    with pytest.raises(Refused, match=r"^changes: give at least one"):
        tried(outlook)


def test_nothing_of_it_is_kept(outlook: Outlook) -> None:
    peak, allowed = outlook.peak_mw(600, 0.99).copy(), outlook.allowed_mw.copy()
    ranked = rank(outlook)
    tried(outlook, place("h0"), cap("h2", 100 * W), loss("pdu-a"), place("h1"))
    assert outlook.peak_mw(600, 0.99).tolist() == peak.tolist()
    assert outlook.allowed_mw.tolist() == allowed.tolist()
    assert rank(outlook) == ranked


def moment(nodes: list[PowerNode], seed: int) -> Outlook:
    topology = Topology(nodes)
    rng = np.random.default_rng(seed)
    hosts = [topology.nodes[i].id for i in topology.hosts.tolist()]
    return outlook_of(topology, {h: rng.integers(0, 10**6, 600) for h in hosts})


@settings(max_examples=30, deadline=None)
@given(graphs(), st.integers(1, 10**7), st.integers(0, 2**32), st.data())
def test_placing_and_removing_the_same_changes_nothing(
    nodes: list[PowerNode], power_mw: int, seed: int, data: st.DataObject
) -> None:
    outlook = moment(nodes, seed)
    node_id = data.draw(st.sampled_from([n.id for n in nodes]))
    assert not tried(outlook, place(node_id, power_mw), remove(node_id, power_mw)).effects


@settings(max_examples=30, deadline=None)
@given(graphs(), st.integers(1, 10**7), st.integers(0, 2**32))
def test_placing_says_what_the_rank_said(nodes: list[PowerNode], peak: int, seed: int) -> None:
    outlook = moment(nodes, seed)
    request = pb.RankCandidatesRequest(demand=demand(peak))
    ranked = Ranker(NoProfiles(), lambda *_: {}).rank(outlook, 600, 0.99, request)
    for candidate in ranked.candidates:
        response = tried(outlook, place(candidate.host_id, peak))
        at_host = {e.node_id: e for e in response.effects}[candidate.host_id]
        assert at_host.headroom_after_mw == candidate.headroom_after_mw
        assert at_host.unlimited == (pb.REASON_NO_BUDGET in candidate.reasons)
        violated = any(e.headroom_after_mw < 0 for e in response.effects)
        assert candidate.feasible != violated
        if candidate.tightest_ancestor_id in (by_id := {e.node_id: e for e in response.effects}):
            tightest = by_id[candidate.tightest_ancestor_id]
            rise = tightest.peak_after_mw - tightest.peak_before_mw
            assert abs(rise - candidate.marginal_peak_mw) <= 1  # fractions of shares


@settings(max_examples=30, deadline=None)
@given(graphs(), st.integers(1, 10**6), st.integers(1, 10**6), st.integers(0, 2**32), st.data())
def test_more_power_never_leaves_more(
    nodes: list[PowerNode], power_mw: int, more_mw: int, seed: int, data: st.DataObject
) -> None:
    outlook = moment(nodes, seed)
    node_id = data.draw(st.sampled_from([n.id for n in nodes]))
    less, more = (
        effects(outlook, place(node_id, power)) for power in (power_mw, power_mw + more_mw)
    )
    assert less.keys() <= more.keys()
    for name, effect in less.items():
        assert more[name].peak_after_mw >= effect.peak_after_mw
        assert more[name].headroom_after_mw <= effect.headroom_after_mw
        assert more[name].exceed_after_ppm >= effect.exceed_after_ppm >= effect.exceed_before_ppm


@settings(max_examples=30, deadline=None)
@given(graphs(), st.integers(0, 2**32), st.data())
def test_a_lost_node_moves_power_and_makes_none(
    nodes: list[PowerNode], seed: int, data: st.DataObject
) -> None:
    outlook = moment(nodes, seed)
    topology = outlook.topology
    inner = [n.id for n in nodes if n.kind is not NodeKind.HOST]
    lost = data.draw(st.sampled_from(inner))
    got = tried(outlook, loss(lost))
    after = dict(zip((n.id for n in topology.nodes), outlook.peak_mw(600, 0.99), strict=True))
    after |= {e.node_id: e.peak_after_mw for e in got.effects}
    after |= dict.fromkeys(got.unpowered_ids, 0)
    assert after[lost] == 0
    fed = [i for i in topology.hosts.tolist() if topology.nodes[i].id not in got.unpowered_ids]
    most = sum(outlook.peak_mw(600, 0.99)[fed])
    for position, node in enumerate(topology.nodes):
        if position in fed:
            assert after[node.id] == outlook.peak_mw(600, 0.99)[position]
        # A sum rises by its own peak over its own highest second, not by those of its hosts.
        assert after[node.id] <= most * 1.005 + len(nodes)
