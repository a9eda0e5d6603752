"""Nodes that are shown by the second tell of no few hosts, however they are combined."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.placement.crowds import CROWD, few_hosts
from chipwatt.collector.placement.topology import (
    WHOLE_PPM,
    NodeKind,
    Parent,
    PowerNode,
    Topology,
    flat,
)


def weights(topology: Topology) -> dict[str, dict[str, Fraction]]:
    """Return by node the share of every host's power that it carries, in exact fractions."""
    found: dict[str, dict[str, Fraction]] = {
        node.id: {node.id: Fraction(1)} if node.kind is NodeKind.HOST else {}
        for node in topology.nodes
    }
    for node in reversed(topology.nodes):
        for parent in node.parents:
            for host, weight in found[node.id].items():
                share = weight * Fraction(parent.share_ppm, WHOLE_PPM)
                found[parent.id][host] = found[parent.id].get(host, Fraction(0)) + share
    return found


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Return sites of rows and racks, each on one or two feeds, with hosts on any of them."""
    nodes = [PowerNode("site", NodeKind.SITE)]
    layer = ["site"]
    for kind, most in ((NodeKind.FEED, 2), (NodeKind.ROW, 3), (NodeKind.RACK, 5)):
        made = []
        for number in range(draw(st.integers(1, most))):
            made.append(f"{kind.name}{number}")
            nodes.append(PowerNode(made[-1], kind, supplies(draw, layer)))
        layer = made + layer if draw(st.booleans()) else made
    nodes.extend(
        PowerNode(f"h{number}", NodeKind.HOST, supplies(draw, layer))
        for number in range(draw(st.integers(0, 40)))
    )
    return Topology(nodes)


def supplies(draw: st.DrawFn, above: list[str]) -> tuple[Parent, ...]:
    chosen = draw(st.lists(st.sampled_from(above), min_size=1, max_size=2, unique=True))
    if len(chosen) == 1:
        return (Parent(chosen[0]),)
    share = draw(st.sampled_from([500_000, 500_000, 600_000]))
    return (Parent(chosen[0], "A", share), Parent(chosen[1], "B", WHOLE_PPM - share))


@given(topologies())
def test_whoever_sees_every_node_that_is_shown_tells_no_few_hosts_apart(topology: Topology) -> None:
    few = few_hosts(topology)
    shown = [node.id for node, hidden in zip(topology.nodes, few, strict=True) if not hidden]
    carried = weights(topology)
    hosts = [topology.nodes[position].id for position in topology.hosts]
    crowds = Counter(
        tuple(carried[node].get(host, Fraction(0)) for node in shown) for host in hosts
    )
    for weight_of, size in crowds.items():
        assert size >= CROWD or not any(weight_of)


@given(topologies())
def test_no_more_is_hidden_than_must_be(topology: Topology) -> None:
    """A node alone may be shown where its hosts, by weight, are no few."""
    few = few_hosts(topology)
    above_all = few.copy()
    above_all[topology.hosts] = False
    if above_all.any():
        return
    for node, carried in weights(topology).items():
        sizes = Counter(carried.values())
        is_host = topology.nodes[topology.index[node]].kind is NodeKind.HOST
        assert is_host or all(size >= CROWD for size in sizes.values())


def racks(*sizes: int) -> Topology:
    nodes = [PowerNode("site", NodeKind.SITE), PowerNode("row", NodeKind.ROW, (Parent("site"),))]
    for rack, size in enumerate(sizes):
        nodes.append(PowerNode(f"r{rack}", NodeKind.RACK, (Parent("row"),)))
        nodes += [
            PowerNode(f"r{rack}h{n}", NodeKind.HOST, (Parent(f"r{rack}"),)) for n in range(size)
        ]
    return Topology(nodes)


@pytest.mark.parametrize(
    ("sizes", "hidden"),
    [
        ((9, 9, 9), set()),
        ((8, 8), set()),
        ((4, 4), {"r0", "r1"}),
        ((7, 0), {"r0", "row", "site"}),
        # Row and site less the large racks would be the small one.
        ((8, 8, 1), {"r2", "row", "site"}),
        ((2, 2), {"r0", "r1", "row", "site"}),
        ((8, 0), set()),
    ],
)
def test_racks_of_some_size(sizes: tuple[int, ...], hidden: set[str]) -> None:
    topology = racks(*sizes)
    few = few_hosts(topology)
    found = {node.id for node, is_few in zip(topology.nodes, few, strict=True) if is_few}
    assert {name for name in found if "h" not in name} == hidden
    assert {name for name in found if "h" in name} == {
        topology.nodes[position].id for position in topology.hosts
    }


def test_two_feeds_that_differ_in_one_host_are_not_both_shown() -> None:
    nodes = [PowerNode("a", NodeKind.FEED), PowerNode("b", NodeKind.FEED)]
    for number in range(10):
        share = 600_000 if number == 3 else 500_000
        supply = (Parent("a", "A", share), Parent("b", "B", WHOLE_PPM - share))
        nodes.append(PowerNode(f"h{number}", NodeKind.HOST, supply))
    topology = Topology(nodes)
    few = few_hosts(topology)
    assert few[topology.index["a"]]
    assert few[topology.index["b"]]


@pytest.mark.parametrize("order", [("a", "b", "c"), ("c", "b", "a"), ("b", "a", "c")])
def test_a_feed_and_a_part_of_it_are_not_both_shown(order: tuple[str, ...]) -> None:
    """Less the part it would be four hosts, whichever of the two is looked at first."""
    nodes = [PowerNode(name, NodeKind.FEED) for name in order]
    for number in range(16):
        other = Parent("b" if number < 12 else "c", "B", 500_000)
        nodes.append(PowerNode(f"h{number}", NodeKind.HOST, (Parent("a", "A", 500_000), other)))
    topology = Topology(nodes)
    few = dict(zip((node.id for node in topology.nodes), few_hosts(topology), strict=True))
    assert few["c"]
    assert sorted([few["a"], few["b"]]) == [False, True]


def test_hosts_of_a_fleet_without_a_file_are_a_crowd_on_their_site() -> None:
    for hosts in (0, 1, 7, 8, 200):
        topology = flat([(f"{number:032x}", f"n{number}") for number in range(hosts)])
        assert few_hosts(topology)[0] == (0 < hosts < CROWD)
