from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.placement.reservation import (
    LIVE,
    Reservation,
    ReservationState,
    counted_grants,
    grants_of,
)
from chipwatt.collector.placement.topology import NodeKind, Parent, PowerNode, Topology
from chipwatt.v1 import placement_pb2

W = 1_000


def dual_fed(share_ppm: int = 600_000) -> Topology:
    return Topology(
        [
            PowerNode("site", NodeKind.SITE),
            PowerNode("a", NodeKind.FEED, (Parent("site"),)),
            PowerNode("b", NodeKind.FEED, (Parent("site"),)),
            PowerNode(
                "rack",
                NodeKind.RACK,
                (Parent("a", "A", share_ppm), Parent("b", "B", 1_000_000 - share_ppm)),
            ),
            PowerNode("h0", NodeKind.HOST, (Parent("rack"),)),
            PowerNode("h1", NodeKind.HOST, (Parent("a"),)),
        ]
    )


def granted(topology: Topology, node_id: str, power_mw: int) -> dict[str, int]:
    grants = grants_of(topology, topology.index[node_id], power_mw)
    return {topology.nodes[at].id: mw for at, mw in grants.items()}


def a_reservation(topology: Topology, node_id: str, power_mw: int) -> Reservation:
    return Reservation(
        "id", "key", node_id, b"", power_mw, 0, ReservationState.HELD, 1, 2,
        tuple(granted(topology, node_id, power_mw).items()),
    )  # fmt: skip


def test_numbers_are_those_of_the_wire() -> None:
    for state in ReservationState:
        wire = placement_pb2.ReservationState.Value(f"RESERVATION_STATE_{state.name}")
        assert int(wire) == state
    assert len(placement_pb2.ReservationState.keys()) == len(ReservationState) + 1


def test_every_feed_carries_its_share_and_the_site_the_whole() -> None:
    assert granted(dual_fed(), "h0", 100 * W) == {
        "h0": 100 * W, "rack": 100 * W, "a": 60 * W, "b": 40 * W, "site": 100 * W,
    }  # fmt: skip
    assert granted(dual_fed(), "rack", 7) == {"rack": 7, "a": 5, "b": 3, "site": 7}
    assert granted(dual_fed(), "site", 7) == {"site": 7}


@settings(deadline=None)
@given(share_ppm=st.integers(0, 1_000_000), power_mw=st.integers(1, 1 << 60))
def test_grants_are_exact_and_never_below_what_is_carried(share_ppm: int, power_mw: int) -> None:
    grants = granted(dual_fed(share_ppm), "h0", power_mw)
    part = Fraction(power_mw * share_ppm, 1_000_000)
    assert 0 <= grants["a"] - part < 1
    assert 0 <= grants["b"] - (power_mw - part) < 1
    assert grants["site"] == grants["rack"] == power_mw


def test_a_node_that_moved_counts_where_it_hangs_now() -> None:
    one = a_reservation(dual_fed(), "h0", 100 * W)
    assert counted_grants(dual_fed(0), one) == {
        "h0": 100 * W, "rack": 100 * W, "a": 0, "b": 100 * W, "site": 100 * W,
    }  # fmt: skip


def test_a_node_that_is_gone_counts_at_what_is_left_above_it() -> None:
    one = a_reservation(dual_fed(), "h0", 100 * W)
    left = Topology([node for node in dual_fed().nodes if node.id in ("site", "a", "h1")])
    assert counted_grants(left, one) == {"a": 60 * W, "site": 100 * W}
    assert counted_grants(Topology([]), one) == {}


def test_what_counts_is_what_is_live() -> None:
    one = a_reservation(dual_fed(), "h0", 1)
    assert one.is_live
    assert {state for state in ReservationState if state in LIVE} == {
        ReservationState.HELD,
        ReservationState.COMMITTED,
    }
