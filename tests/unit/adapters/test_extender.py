"""What the extender decides, against a placement service and an API server on real sockets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import grpc
import pytest

from chipwatt.adapters.asked import Binding, Pod, Question
from chipwatt.adapters.extender import Extender, Rules
from chipwatt.adapters.kube_api import KubeApi
from chipwatt.adapters.tally import Tally
from chipwatt.client import PlacementClient
from chipwatt.v1 import placement_pb2 as pb
from fakes.kube_api import KubeApiServer, kube_api
from fakes.placement_server import (
    CLASS_PEAK_MW,
    KNOWN_CLASS,
    PlacementServer,
    placement_server,
)

GENEROUS = Rules(deadline_s=20.0)
BUDGET_MW = 10_000_000


@dataclass
class Bench:
    server: PlacementServer
    kube: KubeApiServer

    def extender(self, rules: Rules = GENEROUS, *, binds: bool = False) -> tuple[Extender, Tally]:
        """A new process, as it were: with a memory and a connection of its own."""
        counts = Tally("k8s")
        client = PlacementClient(self.server.address)
        api = KubeApi(self.kube.url, None, None) if binds else None
        return Extender(client, rules, api, counts), counts

    def states(self) -> list[str]:
        return [
            pb.ReservationState.Name(r.state).removeprefix("RESERVATION_STATE_")
            for r in self.server.book.values()
        ]


@pytest.fixture
def bench() -> Iterator[Bench]:
    server = PlacementServer(budget_mw=BUDGET_MW)
    server.now_unix_ns = time.time_ns
    with placement_server(server), kube_api(KubeApiServer()) as kube:
        yield Bench(server, kube)


def question(uid: str, *names: str, class_id: str = KNOWN_CLASS, gpus: int = 0) -> Question:
    requests = {"nvidia.com/gpu": gpus * 1000} if gpus else {}
    return Question(Pod(uid, class_id, 1, "", requests), names or ("n1", "n2"), None)


def binding(uid: str, node: str) -> Binding:
    return Binding(uid, node, f"pod-{uid}", "team")


def test_filter_reserves_on_the_best_and_answers_with_it_alone(bench: Bench) -> None:
    extender, _ = bench.extender()
    verdict = extender.filter(question("u1", "n2", "n1", "x"))
    assert verdict.names == ("n2",)
    assert set(verdict.failed) == {"n1", "x"}
    (held,) = bench.server.book.values()
    assert (held.idempotency_key, held.node_id) == ("u1", "n2")
    assert held.grants[0].granted_mw == CLASS_PEAK_MW
    asked = len(bench.server.requests)
    assert extender.filter(question("u1", "n1", "n2")).names == ("n2",)
    assert len(bench.server.requests) == asked, "what is held is answered without a question"
    assert extender.prioritize(question("u1", "n2")) == {"n2": 10}


def test_an_adapter_that_was_restarted_reserves_once_for_a_pod(bench: Bench) -> None:
    for _ in range(3):
        extender, _ = bench.extender()
        assert extender.filter(question("u1", "n1", "n2")).names == ("n1",)
    assert bench.states() == ["HELD"]


def test_a_node_that_is_no_longer_offered_is_given_back(bench: Bench) -> None:
    extender, _ = bench.extender()
    extender.filter(question("u1", "n1"))
    assert extender.filter(question("u1", "n2")).names == ("n2",)
    assert {key: r.node_id for key, r in bench.server.book.items()} == {"u1": "n1", "u1#1": "n2"}
    assert bench.states() == ["RELEASED", "HELD"]
    extender.filter(question("u1", "n1"))
    assert bench.states() == ["RELEASED", "RELEASED", "HELD"]


def test_no_room_names_every_node(bench: Bench) -> None:
    bench.server.budget_mw = CLASS_PEAK_MW - 1
    extender, _ = bench.extender()
    verdict = extender.filter(question("u1", "n1", "x"))
    assert (verdict.names, verdict.failed) == ((), {"n1": "rack r is full"})
    assert verdict.unresolvable == {"x": "not in the power topology"}
    assert bench.server.book == {}


def test_a_class_nobody_knows_counts_with_its_requests(bench: Bench) -> None:
    extender, _ = bench.extender()
    assert extender.filter(question("u1", class_id="cd" * 16, gpus=8)).names == ("n1",)
    assert bench.server.kinds() == ["RankCandidates", "RankCandidates", "Reserve"]
    (held,) = bench.server.book.values()
    assert held.grants[0].granted_mw == 8 * 700_000 + 5_000
    assert held.demand.inline.mean_mw == held.demand.inline.peak_mw


@pytest.mark.parametrize("binds", [True, False])
def test_a_pod_that_asks_for_more_than_there_is_passes_nowhere(bench: Bench, binds: bool) -> None:
    extender, counts = bench.extender(binds=binds)
    asked = question("u1", class_id="", gpus=10**12)
    assert extender.filter(asked).names == ()
    assert extender.prioritize(asked) == {"n1": 0, "n2": 0}
    assert counts.of("filter", "answered") == 1
    assert bench.server.book == {}


def test_without_names_nothing_is_asked(bench: Bench) -> None:
    """No candidates would stand for every host."""
    extender, _ = bench.extender()
    asked = replace(question("u1"), names=())
    assert extender.filter(asked).names == ()
    assert extender.prioritize(asked) == {}
    assert bench.server.requests == []


@pytest.mark.parametrize("passes", [True, False])
def test_a_collector_that_does_not_answer(bench: Bench, passes: bool) -> None:
    rules = Rules(deadline_s=0.1, passes_when_unavailable=passes)
    extender, counts = bench.extender(rules)
    bench.server.behaviour.wait_s = 10.0
    began_s = time.monotonic()
    verdict = extender.filter(question("u1", "n1", "n2"))
    assert time.monotonic() - began_s < 5
    assert verdict.names == (("n1", "n2") if passes else ())
    assert set(verdict.failed) == (set() if passes else {"n1", "n2"})
    assert extender.prioritize(question("u1", "n1")) == {"n1": 0}
    assert counts.of("filter", "unavailable") == counts.of("prioritize", "unavailable") == 1


def test_a_collector_that_refuses_is_told_apart(bench: Bench) -> None:
    extender, counts = bench.extender()
    bench.server.behaviour.abort = (grpc.StatusCode.INVALID_ARGUMENT, "horizon_s: no")
    assert extender.filter(question("u1", "n1")).names == ("n1",)
    assert counts.of("filter", "refused") == 1


def test_all_questions_of_a_call_share_one_deadline(bench: Bench) -> None:
    extender, _ = bench.extender(Rules(deadline_s=0.3, passes_when_unavailable=False))
    extender.prioritize(question("u0"))
    bench.server.behaviour.wait_s = 0.2
    began_s = time.monotonic()
    assert extender.filter(question("u1", "n1")).names == ()
    assert time.monotonic() - began_s < 2
    assert bench.server.kinds()[1:] == ["RankCandidates", "Reserve"]


def test_bind_reserves_and_binds(bench: Bench) -> None:
    extender, counts = bench.extender(binds=True)
    assert extender.filter(question("u1")).names == ("n1", "n2")
    assert bench.server.book == {}, "filter only ranks where bind reserves"
    assert extender.bind(binding("u1", "n2")) == ""
    assert bench.kube.bound == {"u1": "n2"}
    assert bench.server.book["u1"].node_id == "n2"
    assert bench.kube.bodies[0]["metadata"] == {
        "name": "pod-u1", "namespace": "team", "uid": "u1",
    }  # fmt: skip
    assert counts.of("bind", "bound") == 1


def test_bind_without_room_binds_nothing(bench: Bench) -> None:
    extender, counts = bench.extender(binds=True)
    extender.filter(question("u1"))
    bench.server.budget_mw = 1
    assert extender.bind(binding("u1", "n1")) == "power: node_id: 'r' lacks power"
    assert bench.kube.bound == {}
    assert counts.of("bind", "no_room") == 1


def test_what_kubernetes_refuses_is_given_back(bench: Bench) -> None:
    extender, _ = bench.extender(binds=True)
    bench.kube.refuse["n1"] = 409
    extender.filter(question("u1"))
    told = extender.bind(binding("u1", "n1"))
    assert told == "the Kubernetes API server answered 409 Conflict"
    assert bench.states() == ["RELEASED"]
    assert extender.bind(binding("u1", "n2")) == ""
    assert bench.kube.bound == {"u1": "n2"}
    assert bench.states() == ["RELEASED", "HELD"]


def test_what_kubernetes_may_have_done_stays_reserved(bench: Bench) -> None:
    extender, _ = bench.extender(binds=True)
    bench.kube.refuse["n1"] = 500
    extender.filter(question("u1"))
    assert extender.bind(binding("u1", "n1")) == "the Kubernetes API server answered 500"
    assert bench.states() == ["HELD"]


@pytest.mark.parametrize("passes", [True, False])
def test_bind_while_the_collector_is_away(bench: Bench, passes: bool) -> None:
    rules = Rules(deadline_s=0.1, passes_when_unavailable=passes)
    extender, _ = bench.extender(rules, binds=True)
    bench.server.behaviour.wait_s = 10.0
    extender.filter(question("u1"))
    assert (extender.bind(binding("u1", "n1")) == "") is passes
    assert bench.kube.bound == ({"u1": "n1"} if passes else {})


def test_a_pod_that_was_never_filtered_is_not_bound(bench: Bench) -> None:
    extender, _ = bench.extender(binds=True)
    assert "has not filtered the pod yet" in extender.bind(binding("u1", "n1"))
    without_api, _ = bench.extender()
    assert "without --kube-api" in without_api.bind(binding("u1", "n1"))
    assert bench.kube.bound == {}


@pytest.mark.parametrize("binds", [True, False])
def test_two_extenders_at_once_never_overshoot(bench: Bench, binds: bool) -> None:
    fits = 17
    bench.server.budget_mw = fits * CLASS_PEAK_MW + CLASS_PEAK_MW // 2
    extenders = [bench.extender(binds=binds)[0] for _ in range(2)]

    def place(number: int) -> str:
        extender, uid = extenders[number % 2], f"u{number}"
        names = extender.filter(question(uid)).names
        if not names or not binds:
            return "".join(names)
        return names[0] if extender.bind(binding(uid, names[0])) == "" else ""

    with ThreadPoolExecutor(8) as pool:
        placed = [node for node in pool.map(place, range(60)) if node]
    assert len(placed) == fits
    assert sum(r.grants[1].granted_mw for r in bench.server.book.values()) == fits * CLASS_PEAK_MW
    if binds:
        assert len(bench.kube.bound) == fits
