from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.placement.topology import (
    NodeKind,
    Parent,
    PowerNode,
    Topology,
    flat,
)
from chipwatt.collector.placement.topology_order import find_cycle
from chipwatt.v1 import placement_pb2


def node(name: str, *parents: str, kind: NodeKind = NodeKind.PDU) -> PowerNode:
    share = 1_000_000 // max(1, len(parents))
    return PowerNode(name, kind, tuple(Parent(parent, "", share) for parent in parents))


@st.composite
def graphs(draw: st.DrawFn) -> list[PowerNode]:
    """Draw directed acyclic graphs whose hosts hang on one to three parents, in any order."""
    inner = draw(st.integers(1, 7))
    nodes = [PowerNode("n0", NodeKind.SITE)]
    for number in range(1, inner + draw(st.integers(1, 6))):
        is_host = number >= inner
        above = st.integers(0, min(number, inner) - 1)
        parents = draw(st.lists(above, min_size=int(is_host), max_size=3, unique=True))
        cuts = sorted(draw(st.lists(st.integers(0, 1_000_000), min_size=2, max_size=2)))
        shares = {0: [], 1: [1_000_000], 2: [cuts[0], 1_000_000 - cuts[0]]}.get(
            len(parents), [cuts[0], cuts[1] - cuts[0], 1_000_000 - cuts[1]]
        )
        nodes.append(
            PowerNode(
                f"n{number}",
                NodeKind.HOST if is_host else NodeKind.PDU,
                tuple(Parent(f"n{p}", "", s) for p, s in zip(parents, shares, strict=True)),
                rated_mw=draw(st.integers(0, 10**7)),
                budget_mw=draw(st.one_of(st.just(0), st.integers(1, 10**8))),
                safety_margin_ppm=draw(st.integers(0, 1_000_000)),
            )
        )
    return draw(st.permutations(nodes))


def test_kinds_are_those_of_the_wire() -> None:
    for kind in NodeKind:
        assert int(placement_pb2.NodeKind.Value(f"NODE_KIND_{kind.name}")) == kind


@given(graphs())
def test_parents_stand_first(nodes: list[PowerNode]) -> None:
    topology = Topology(nodes)
    assert sorted(n.id for n in topology.nodes) == sorted(n.id for n in nodes)
    for position, parents in enumerate(topology.parents):
        assert all(parent < position for parent in parents)


@given(graphs(), st.data())
def test_nodes_of_a_kind_never_stand_for_more_hosts_than_there_are(
    nodes: list[PowerNode], data: st.DataObject
) -> None:
    topology = Topology(nodes)
    shared, beneath = topology.shared_hosts(), [set[int]() for _ in topology.nodes]
    for above, host in zip(topology.above.tolist(), topology.beneath.tolist(), strict=True):
        beneath[above].add(host)
    whole = data.draw(st.sets(st.sampled_from(range(len(topology.nodes)))))
    for kind in NodeKind:
        every = [n for n, node in enumerate(topology.nodes) if node.kind is kind]
        some = set().union(*(beneath[n] for n in whole.intersection(every)))
        assert shared[list(whole.intersection(every))].sum() <= len(some) + 1e-9
        assert shared[every].sum() == pytest.approx(len(set().union(*(beneath[n] for n in every))))


@given(graphs(), st.data())
def test_what_the_hosts_draw_arrives_at_the_roots_once(
    nodes: list[PowerNode], data: st.DataObject
) -> None:
    topology = Topology(nodes)
    drawn = data.draw(st.lists(st.integers(0, 10**7), min_size=len(topology.hosts)))
    loads = np.zeros((len(topology.nodes), 2))
    loads[topology.hosts, 0] = drawn[: len(topology.hosts)]
    loads[topology.hosts, 1] = 1.0
    wanted = loads.sum(axis=0)
    topology.carry_up(loads)
    roots = [i for i, parents in enumerate(topology.parents) if not parents]
    assert loads[roots].sum(axis=0) == pytest.approx(wanted)


@given(graphs())
def test_carrying_up_is_the_sum_over_every_way(nodes: list[PowerNode]) -> None:
    topology = Topology(nodes)

    def share(of: str, at: int) -> float:
        here = topology.nodes[at]
        if here.id == of:
            return 1.0
        return sum(p.share_ppm / 1e6 * share(of, topology.index[p.id]) for p in here.parents)

    loads = np.zeros((len(topology.nodes), 1))
    for number, position in enumerate(topology.hosts.tolist()):
        loads[position] = 1_000 * (number + 1)
    topology.carry_up(loads)
    for position, name in enumerate(n.id for n in topology.nodes):
        expected = sum(
            1_000 * (number + 1) * share(name, host)
            for number, host in enumerate(topology.hosts.tolist())
        )
        assert loads[position, 0] == pytest.approx(expected)


@given(graphs())
def test_beneath_counts_each_host_once(nodes: list[PowerNode]) -> None:
    topology = Topology(nodes)
    for position, node_ in enumerate(topology.nodes):
        below = {n.id for n in topology.subtree(node_.id)}
        rows = topology.beneath[topology.above == position]
        hosts = [topology.nodes[i].id for i in topology.hosts[rows].tolist()]
        assert sorted(hosts) == sorted(
            n.id for n in topology.nodes if n.id in below and n.kind is NodeKind.HOST
        )


@given(graphs(), st.data())
def test_the_least_on_the_way_up_is_that_of_some_ancestor(
    nodes: list[PowerNode], data: st.DataObject
) -> None:
    topology = Topology(nodes)
    count = len(topology.nodes)
    value = st.one_of(st.integers(-5, 5).map(float), st.just(float("inf")))
    values = np.array(data.draw(st.lists(value, min_size=count, max_size=count)))
    least, whose = topology.least_on_the_way_up(values)

    def above(position: int) -> set[int]:
        return {position}.union(*(above(parent) for parent in topology.parents[position]))

    for position in range(count):
        assert least[position] == min(values[i] for i in above(position))
        assert whose[position] in above(position)
        assert values[whose[position]] == least[position]
        if values[position] == least[position]:
            assert whose[position] == position


def test_depth_counts_levels_beneath_the_root() -> None:
    topology = Topology(
        [
            node("site"),
            node("a", "site"),
            node("b", "a"),
            node("rack", "b", "site"),
            node("h", "rack", kind=NodeKind.HOST),
            node("other"),
        ]
    )
    assert [n.id for n in topology.subtree("site", 1)] == ["site", "a", "rack"]
    assert [n.id for n in topology.subtree("", 1)] == ["site", "other", "a", "rack"]
    assert [n.id for n in topology.subtree("a", 2)] == ["a", "b", "rack"]
    assert len(topology.subtree("")) == 6


def test_subtree_of_a_dual_fed_rack() -> None:
    topology = Topology(
        [node("rack", "a", "b"), node("h", "rack", kind=NodeKind.HOST), node("a"), node("b")]
    )
    assert [n.id for n in topology.subtree("a")] == ["a", "rack", "h"]
    assert [n.id for n in topology.subtree("h")] == ["h"]


def test_a_circle_and_a_missing_parent() -> None:
    circle = [node("a", "b"), node("b", "c"), node("c", "b"), node("d")]
    assert find_cycle({n.id: n for n in circle}) == ["b", "c", "b"]
    with pytest.raises(ValueError, match="circle: b -> c -> b"):
        Topology(circle)
    with pytest.raises(ValueError, match="'a' names an unknown parent 'x'"):
        Topology([node("a", "x")])
    assert find_cycle({"a": node("a")}) == []


def test_flat_puts_every_host_on_one_site() -> None:
    topology = flat([("01", "n1"), ("02", "twin"), ("03", "twin"), ("04", "site"), ("05", "")])
    assert [n.id for n in topology.nodes] == ["site", "n1", "02", "03", "04", "05"]
    assert [n.host for n in topology.nodes] == ["", "01", "02", "03", "04", "05"]
    assert len(flat([]).nodes) == 1
