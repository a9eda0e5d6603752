"""Power held for pods: one reservation a pod, anew where it ended, released where it moved."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chipwatt.adapters import holds
from chipwatt.adapters.holds import Deadline, Holds
from chipwatt.client import Demand, InlineProfile, NoRoom, PlacementClient, RequestRefused
from chipwatt.core.errors import CollectorUnreachable
from chipwatt.v1 import placement_pb2 as pb
from fakes.placement_facts import NOW_UNIX_NS
from fakes.placement_server import PlacementServer, placement_server

W = 1_000
JOB = Demand(inline=InlineProfile(100 * W, 100 * W))
TTL_S = 60
LIVE = (pb.RESERVATION_STATE_HELD, pb.RESERVATION_STATE_COMMITTED)


class World:
    """One clock for the collector and for those who ask it."""

    def __init__(self, server: PlacementServer) -> None:
        self.server, self.now_s = server, 0.0
        server.now_unix_ns = lambda: NOW_UNIX_NS + int(self.now_s * 1e9)
        self.client = PlacementClient(server.address)

    def holds(self) -> Holds:
        return Holds(self.client, TTL_S, mono_s=lambda: self.now_s)

    def live(self) -> list[tuple[str, str]]:
        book = self.server.book.values()
        return [(r.idempotency_key, r.node_id) for r in book if r.state in LIVE]


@pytest.fixture
def world() -> Iterator[World]:
    with placement_server(PlacementServer()) as server:
        yield World(server)


def soon() -> Deadline:
    return Deadline(20.0)


def test_one_reservation_however_often_it_is_asked_for(world: World) -> None:
    one, other = world.holds(), world.holds()
    taken = one.take("u", "n1", JOB, soon())
    assert one.take("u", "n1", JOB, soon()) == other.take("u", "n1", JOB, soon()) == taken
    assert world.live() == [("u", "n1")]
    assert (one.node_of("u"), one.node_of("v")) == ("n1", "")


def test_an_old_one_is_made_anew(world: World) -> None:
    one = world.holds()
    one.take("u", "n1", JOB, soon())
    world.now_s = TTL_S * 0.6
    assert one.node_of("u") == "", "it might end before the pod draws"
    one.take("u", "n1", JOB, soon())
    assert world.live() == [("u#1", "n1")]
    assert one.node_of("u") == "n1"


def test_after_a_restart_what_has_expired_is_made_anew(world: World) -> None:
    world.holds().take("u", "n1", JOB, soon())
    world.now_s = TTL_S + 1
    world.holds().take("u", "n1", JOB, soon())
    assert world.live() == [("u#1", "n1")]


def test_another_demand_is_another_reservation(world: World) -> None:
    one = world.holds()
    one.take("u", "n1", JOB, soon())
    one.take("u", "n1", Demand(inline=InlineProfile(5, 5)), soon())
    assert world.live() == [("u#1", "n1")]


def test_giving_back_twice_or_nothing_is_fine(world: World) -> None:
    one = world.holds()
    one.give_back("u", soon())
    one.take("u", "n1", JOB, soon())
    one.give_back("u", soon())
    one.give_back("u", soon())
    assert world.live() == []
    assert world.server.kinds() == ["Reserve", "Release"]


def test_it_does_not_go_on_for_ever(world: World) -> None:
    one = world.holds()
    for _ in range(16):
        one.take("u", "n1", JOB, soon())
        one.give_back("u", soon())
    with pytest.raises(RequestRefused, match="too many times"):
        one.take("u", "n1", JOB, soon())


def test_a_deadline_that_has_passed_asks_nothing(world: World) -> None:
    with pytest.raises(CollectorUnreachable, match="did not answer in time"):
        world.holds().take("u", "n1", JOB, Deadline(0.0))
    assert world.server.requests == []


def test_memory_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "MOST_KEPT", 3)
    one = world.holds()
    for number in range(5):
        one.take(f"u{number}", "n1", JOB, soon())
    assert [one.node_of(f"u{number}") for number in range(5)] == ["", "", "n1", "n1", "n1"]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]), st.sampled_from(["n1", "n2"]),
            st.sampled_from(["take", "give back", "wait", "restart"]),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_a_pod_of_one_process_never_holds_twice(
    world: World, steps: list[tuple[str, str, str]]
) -> None:
    world.server.book.clear()
    world.server._bodies.clear()
    world.server.budget_mw = 150 * W
    one, restarted = world.holds(), False
    for uid, node, what in steps:
        if what == "wait":
            world.now_s += TTL_S / 3
        elif what == "restart":
            # Whatever a process forgets ends by itself.
            one, restarted = world.holds(), True
        elif what == "give back":
            one.give_back(uid, soon())
        else:
            try:
                one.take(uid, node, JOB, soon())
            except NoRoom:
                pass
            else:
                assert any(key.startswith(uid) and at == node for key, at in world.live())
        held = [key.partition("#")[0] for key, _ in world.live()]
        assert len(held) <= 1
        assert restarted or len(held) == len(set(held))
