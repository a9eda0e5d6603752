from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.placement.sole_supplies import sole_supplies
from chipwatt.collector.placement.topology import NodeKind, Parent, PowerNode, Topology
from chipwatt.collector.placement.topology_feeds import feed_loss

SUPPLIES = (NodeKind.FEED, NodeKind.UPS, NodeKind.PDU)


def pairs(topology: Topology) -> set[tuple[str, str]]:
    supply, row = sole_supplies(topology)
    return {
        (topology.nodes[at].id, topology.nodes[topology.hosts[host]].id)
        for at, host in zip(supply.tolist(), row.tolist(), strict=True)
    }


def test_a_host_on_two_feeds_lives_of_neither_alone() -> None:
    topology = Topology(
        [
            PowerNode("site", NodeKind.SITE),
            PowerNode("ups", NodeKind.UPS, (Parent("site"),)),
            PowerNode("a", NodeKind.FEED, (Parent("ups"),)),
            PowerNode("b", NodeKind.FEED, (Parent("ups"),)),
            PowerNode("rack", NodeKind.RACK, (Parent("a", "A", 1_000_000), Parent("b", "B", 0))),
            PowerNode("both", NodeKind.HOST, (Parent("rack"),)),
            PowerNode("one", NodeKind.HOST, (Parent("a"),)),
        ]
    )
    # Even a supply that carries nothing keeps a host alive.
    assert pairs(topology) == {("ups", "both"), ("ups", "one"), ("a", "one")}


@st.composite
def graphs(draw: st.DrawFn) -> Topology:
    nodes: list[PowerNode] = []
    for number in range(draw(st.integers(1, 12))):
        above = [n.id for n in nodes if n.kind is not NodeKind.HOST]
        parents = draw(st.lists(st.sampled_from(above), unique=True, max_size=3)) if above else []
        kind = draw(st.sampled_from([*SUPPLIES, NodeKind.RACK, NodeKind.HOST]))
        nodes.append(PowerNode(f"n{number}", kind, tuple(Parent(p, "", 1) for p in parents)))
    return Topology(nodes)


@settings(deadline=None)
@given(graphs())
def test_who_lives_of_a_supply_alone_is_unfed_without_it(topology: Topology) -> None:
    want = set()
    for node in topology.nodes:
        if node.kind in SUPPLIES:
            _, unfed = feed_loss(topology, node.id)
            want |= {
                (node.id, name)
                for name in unfed
                if topology.nodes[topology.index[name]].kind is NodeKind.HOST
            }
    assert pairs(topology) == want
