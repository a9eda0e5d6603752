"""The load-watcher shape: what Trimaran reads, made of budgets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from chipwatt.adapters.load_watcher import application, loads
from chipwatt.adapters.tally import Tally
from chipwatt.client import (
    HeadroomInfo,
    NodeParent,
    PlacementClient,
    Provenance,
    TopologyInfo,
    TopologyNode,
)
from fakes.asgi import ask
from fakes.placement_server import PlacementServer, placement_server

TRUST = Provenance(0, 0, 1_000_000, "CONFORMAL", ())
NOW_S = 1_800_000_000


def node(name: str, kind: str, *parents: str) -> TopologyNode:
    return TopologyNode(name, kind, tuple(NodeParent(p, "", 0) for p in parents), 0, 0, 0, "")


def headroom(name: str, budget_mw: int, mean_mw: int, peak_mw: int) -> HeadroomInfo:
    return HeadroomInfo(name, 0, mean_mw, 0, peak_mw, budget_mw, 0, "", TRUST)


TOPOLOGY = TopologyInfo(
    (node("a", "feed"), node("b", "feed"), node("r", "rack", "a", "b"), node("h", "host", "r"),
     node("free", "host")), TRUST,
)  # fmt: skip
MEASURED = {
    "a": headroom("a", 1_000, 800, 900),
    "b": headroom("b", 1_000, 100, 100),
    "r": headroom("r", 1_000, 500, 999),
    "h": headroom("h", 0, 400, 500),
    "free": headroom("free", 0, 7, 8),
}


def test_a_node_is_as_loaded_as_the_tightest_budget_above_it() -> None:
    found = loads(TOPOLOGY, MEASURED)
    assert set(found) == {"h", "free"}
    assert found["h"].mean == pytest.approx(80)
    assert found["h"].deviation == pytest.approx(10 / 2.326)
    assert (found["free"].mean, found["free"].deviation) == (0, 0)


@given(st.lists(st.integers(0, 10**9), min_size=4, max_size=4), st.integers(1, 10**9))
def test_more_power_is_never_less_load(means_mw: list[int], more_mw: int) -> None:
    before = {
        name: headroom(name, 10**6, mean, mean + 5)
        for name, mean in zip("abrh", means_mw, strict=True)
    }
    for name, own in before.items():
        after = {**before, name: replace(own, mean_mw=own.mean_mw + more_mw)}
        assert loads(TOPOLOGY, after)["h"].mean >= loads(TOPOLOGY, before)["h"].mean
        assert loads(TOPOLOGY, after)["h"].deviation >= 0


@pytest.fixture
def server() -> Iterator[PlacementServer]:
    with placement_server(PlacementServer(budget_mw=1_000)) as one:
        yield one


@pytest.fixture
def app(server: PlacementServer) -> Iterator[Starlette]:
    with PlacementClient(server.address) as client:
        yield application(client, Tally("load-watcher"), lambda: NOW_S + 0.7)


def test_every_node_and_one(app: Starlette) -> None:
    reply = ask(app, "GET", "/watcher")
    assert reply.status == 200
    everything = json.loads(reply.body)
    metric = {"name": "chipwatt.power", "type": "CPU", "rollup": "10m", "value": 0.0}
    of_node = {
        "metrics": [{**metric, "operator": "AVG"}, {**metric, "operator": "STD"}],
        "tags": {},
        "metadata": {},
    }
    assert everything == {
        "timestamp": NOW_S,
        "window": {"duration": "10m", "start": NOW_S - 600, "end": NOW_S},
        "source": "chipwatt",
        "data": {"NodeMetricsMap": {"n1": of_node, "n2": of_node}},
    }
    one = json.loads(ask(app, "GET", "/watcher/n2").body)
    assert one["data"] == {"NodeMetricsMap": {"n2": of_node}}
    assert ask(app, "GET", "/watcher/health").status == 200


def test_a_host_nobody_knows_and_a_collector_that_is_away(
    app: Starlette, server: PlacementServer
) -> None:
    assert ask(app, "GET", "/watcher/r").status == 404
    server.behaviour.abort = (grpc.StatusCode.UNAVAILABLE, "")
    assert ask(app, "GET", "/watcher").status == 503
    assert ask(app, "GET", "/watcher/n1").status == 503
    assert b'verb="watcher",outcome="unavailable"} 2' in ask(app, "GET", "/metrics").body
