from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.placement.cap_advice import MAX_ADVICE, cap_advice
from chipwatt.collector.placement.topology import NodeKind, Parent, PowerNode, Topology
from chipwatt.core.tables import Array

W = 1_000


def two_feeds(rated_mw: list[int], share_ppm: int = 500_000) -> Topology:
    both = (Parent("a", "A", share_ppm), Parent("b", "B", 1_000_000 - share_ppm))
    nodes = [
        PowerNode("site", NodeKind.SITE),
        PowerNode("a", NodeKind.FEED, (Parent("site"),)),
        PowerNode("b", NodeKind.FEED, (Parent("site"),)),
        PowerNode("rack", NodeKind.RACK, both),
    ]
    nodes += [
        PowerNode(f"h{i}", NodeKind.HOST, (Parent("rack"),), rated_mw=mw)
        for i, mw in enumerate(rated_mw)
    ]
    return Topology(nodes)


def loads(topology: Topology, draws_mw: list[int]) -> Array:
    loads = np.zeros((len(topology.nodes), 1))
    loads[topology.hosts, 0] = draws_mw
    topology.carry_up(loads)
    drawn: Array = loads[:, 0]
    return drawn


def test_lowest_priority_first_then_who_has_most_to_give() -> None:
    topology = two_feeds([600 * W] * 4)
    draws = loads(topology, [500 * W, 400 * W, 550 * W, 600 * W])
    rack = topology.index["rack"]
    heard = np.ones(4, dtype=bool)
    advice = cap_advice(topology, rack, 420 * W, draws, heard, {"h2": 1, "h3": 9})
    assert [(a.target_id, a.cap_mw, a.priority, a.expected_saving_mw) for a in advice] == [
        ("h0", 300 * W, 0, 200 * W),
        ("h1", 300 * W, 0, 100 * W),
        ("h2", 430 * W, 1, 120 * W),
    ]


def test_at_a_feed_only_the_share_it_carries_is_saved() -> None:
    topology = two_feeds([1_000 * W], 250_000)
    draws = loads(topology, [800 * W])
    (advice,) = cap_advice(topology, topology.index["a"], 50 * W, draws, np.array([True]), {})
    assert (advice.cap_mw, advice.expected_saving_mw) == (600 * W, 50 * W)


def test_without_a_nameplate_half_of_the_draw_is_the_floor() -> None:
    topology = two_feeds([0])
    (advice,) = cap_advice(
        topology, 0, 10_000 * W, loads(topology, [300 * W]), np.array([True]), {}
    )
    assert advice.cap_mw == 150 * W


def test_who_is_silent_or_at_the_floor_is_not_asked() -> None:
    topology = two_feeds([500 * W] * 3)
    draws = loads(topology, [500 * W, 250 * W, 400 * W])
    heard = np.array([False, True, True])
    assert [a.target_id for a in cap_advice(topology, 0, 1e9, draws, heard, {})] == ["h2"]
    other = Topology([*topology.nodes, PowerNode("c", NodeKind.FEED)])
    assert cap_advice(other, other.index["c"], 1e9, loads(other, [0] * 3), heard, {}) == ()


@settings(deadline=None)
@given(
    hosts=st.lists(
        st.tuples(st.integers(0, 900 * W), st.integers(0, 900 * W), st.integers(0, 2)),
        min_size=1,
        max_size=8,
    ),
    share_ppm=st.integers(1, 1_000_000),
    need_mw=st.integers(1, 2_000 * W),
    node=st.sampled_from(["site", "a", "rack"]),
)
def test_advice_saves_what_it_says(
    hosts: list[tuple[int, int, int]], share_ppm: int, need_mw: int, node: str
) -> None:
    topology = two_feeds([rated for rated, _, _ in hosts], share_ppm)
    drawn = [draw for _, draw, _ in hosts]
    before = loads(topology, drawn)
    priorities = {f"h{i}": priority for i, (_, _, priority) in enumerate(hosts)}
    position = topology.index[node]
    everybody = np.ones(len(hosts), dtype=bool)
    advice = cap_advice(topology, position, need_mw, before, everybody, priorities)
    capped = dict(enumerate(drawn))
    for step in advice:
        number = int(step.target_id[1:])
        assert 0 <= step.cap_mw < capped[number]
        assert step.cap_mw >= (hosts[number][0] or hosts[number][1]) // 2
        capped[number] = step.cap_mw
    after = loads(topology, list(capped.values()))
    saved = before[position] - after[position]
    assert abs(saved - sum(a.expected_saving_mw for a in advice)) <= len(advice) + 1
    assert [a.priority for a in advice] == sorted(a.priority for a in advice)
    if len(advice) < len(hosts):
        spare = [
            drawn[i] - (rated or draw) / 2
            for i, (rated, draw, _) in enumerate(hosts)
            if f"h{i}" not in {a.target_id for a in advice}
        ]
        assert saved >= need_mw - 1 or max(spare) < 1


def test_advice_is_bounded() -> None:
    topology = two_feeds([100] * (MAX_ADVICE + 5))
    draws = loads(topology, [100] * (MAX_ADVICE + 5))
    everybody = np.ones(MAX_ADVICE + 5, dtype=bool)
    assert len(cap_advice(topology, 0, 1e12, draws, everybody, {})) == MAX_ADVICE
