"""A host that nobody has heard of may draw anything: its budgets are not given away."""

from __future__ import annotations

from chipwatt.collector.placement.topology import NodeKind, Parent, PowerNode, Topology
from chipwatt.collector.placement.trust import Quality
from unit.collector.placement.test_headroom import W, answers, constant, latest_of


def test_what_nobody_knows_is_not_given_away() -> None:
    """A host never heard of, without nameplate, under two budgets; its neighbour is known."""
    nodes = [
        PowerNode("site", NodeKind.SITE, budget_mw=5_000 * W, safety_margin_ppm=100_000),
        PowerNode("row", NodeKind.ROW, (Parent("site"),)),
        PowerNode("a", NodeKind.RACK, (Parent("row"),), budget_mw=1_000 * W),
        PowerNode("b", NodeKind.RACK, (Parent("row"),), budget_mw=1_000 * W),
        PowerNode("h0", NodeKind.HOST, (Parent("a"),)),
        PowerNode("h1", NodeKind.HOST, (Parent("b"),)),
    ]
    topology = Topology(nodes)
    assert topology.unrated_beneath_budgets() == ["h0", "h1"]
    got = answers(topology, latest_of(constant(100 * W, 120 * W), None))
    assert (got["b"].predicted_peak_mw, got["b"].headroom_mw) == (1_000 * W, -500 * W)
    assert got["b"].trust.quality == (Quality.PARTIAL, Quality.COLD_START)
    assert (got["site"].predicted_peak_mw, got["site"].headroom_mw) == (5_000 * W, -500 * W)
    assert got["a"].predicted_peak_mw == 120 * W
    assert got["a"].headroom_mw == -500 * W
    assert got["a"].trust.quality == (Quality.COLD_START,)
    heard = answers(topology, latest_of(*[constant(100 * W, 120 * W)] * 2))
    assert heard["site"].headroom_mw == 4_500 * W - 240 * W
