"""What is left when a supply fails: nothing is drawn twice, nothing is forgotten."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.placement.topology import NodeKind, Parent, PowerNode, Topology
from chipwatt.collector.placement.topology_feeds import feed_loss
from unit.collector.placement.test_topology import graphs


def hall(*shares: tuple[str, int]) -> Topology:
    """Return a site, feeds a, b and c under it, a rack on the shares given, a host on the rack."""
    nodes = [PowerNode("site", NodeKind.SITE)]
    nodes += [PowerNode(feed, NodeKind.FEED, (Parent("site"),)) for feed in "abc"]
    parents = tuple(Parent(feed, feed.upper(), share) for feed, share in shares)
    nodes.append(PowerNode("rack", NodeKind.RACK, parents))
    nodes.append(PowerNode("h", NodeKind.HOST, (Parent("rack"),), rated_mw=7))
    return Topology(nodes, version=3)


def shares_of_rack(topology: Topology) -> dict[str, int]:
    rack = topology.nodes[topology.index["rack"]]
    return {parent.id: parent.share_ppm for parent in rack.parents}


def test_the_other_parents_take_over_by_their_shares() -> None:
    left, unfed = feed_loss(hall(("a", 500_000), ("b", 300_000), ("c", 200_000)), "a")
    assert shares_of_rack(left) == {"b": 600_000, "c": 400_000}
    assert unfed == []
    assert "a" not in left.index
    assert left.version == 3


def test_idle_parents_take_over_evenly() -> None:
    left, _ = feed_loss(hall(("a", 1_000_000), ("b", 0), ("c", 0)), "a")
    assert shares_of_rack(left) == {"b": 500_000, "c": 500_000}


def test_shares_stay_whole_where_they_do_not_divide() -> None:
    left, _ = feed_loss(hall(("a", 999_997), ("b", 1), ("c", 2)), "a")
    assert shares_of_rack(left) == {"b": 333_333, "c": 666_667}


def test_what_nothing_feeds_is_named_with_all_beneath() -> None:
    left, unfed = feed_loss(hall(("b", 1_000_000)), "b")
    assert unfed == ["rack", "h"]
    assert sorted(left.index) == ["a", "c", "site"]
    left, unfed = feed_loss(hall(("b", 1_000_000)), "site")
    assert left.nodes == ()
    assert sorted(unfed) == ["a", "b", "c", "h", "rack"]


def test_a_node_that_there_is_not() -> None:
    with pytest.raises(KeyError):
        feed_loss(hall(("a", 1_000_000)), "x")


@given(graphs(), st.data())
def test_what_is_still_drawn_arrives_at_the_roots_once(
    nodes: list[PowerNode], data: st.DataObject
) -> None:
    before = Topology(nodes)
    failed = data.draw(st.sampled_from(sorted(before.index)))
    left, unfed = feed_loss(before, failed)
    assert sorted([*left.index, *unfed, failed]) == sorted(before.index)
    for node in left.nodes:
        assert not node.parents or sum(parent.share_ppm for parent in node.parents) == 1_000_000
        assert {p.id for p in node.parents} <= set(left.index)
    loads = np.zeros((len(left.nodes), 1))
    loads[left.hosts, 0] = 1_000.0
    left.carry_up(loads)
    roots = [i for i, parents in enumerate(left.parents) if not parents]
    assert loads[roots, 0].sum() == pytest.approx(1_000.0 * len(left.hosts))


@given(graphs(), st.data())
def test_a_failure_never_lightens_what_still_feeds(
    nodes: list[PowerNode], data: st.DataObject
) -> None:
    """Of two feeds beneath one root, one lost: the other carries at least what it did."""
    before = Topology(nodes)
    failed = data.draw(st.sampled_from(sorted(before.index)))
    left, unfed = feed_loss(before, failed)
    if unfed:
        return

    def carried(topology: Topology) -> dict[str, float]:
        loads = np.zeros((len(topology.nodes), 1))
        # The failed node may be a host: what it drew is not drawn any more.
        loads[topology.hosts, 0] = [
            0.0 if topology.nodes[i].id == failed else 1_000.0 for i in topology.hosts
        ]
        topology.carry_up(loads)
        return dict(zip(topology.index, loads[:, 0].tolist(), strict=True))

    above = {node.id for node in before.nodes if failed in {n.id for n in before.subtree(node.id)}}
    old, new = carried(before), carried(left)
    for name in left.index:
        if name not in above:
            assert new[name] >= old[name] - 1e-3
