"""A pod is its tenant's: a canary anywhere in it comes out nowhere, come what may."""

from __future__ import annotations

import copy
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chipwatt.adapters.demands import DRAW_MW, POD
from chipwatt.adapters.extender import Extender, Rules
from chipwatt.adapters.extender_http import application
from chipwatt.adapters.kube_api import KubeApi
from chipwatt.adapters.tally import Tally
from chipwatt.client import PlacementClient
from chipwatt.client.channel import RequestCancelled
from chipwatt.core.log import LineFormatter
from fakes.asgi import ask
from fakes.kube_api import KubeApiServer, kube_api
from fakes.placement_server import PlacementServer, placement_server

GOLDEN = Path(__file__).parents[2] / "golden" / "extender"
CANARY = "c4n4ry"
UID = ("metadata", "uid")
"""The API server's own, and no tenant's."""
SPOTS = (
    ("metadata", "name"), ("metadata", "namespace"), ("metadata", "annotations", CANARY),
    ("metadata", "annotations", "example.com/owner"), ("metadata", "labels", "app"),
    ("metadata", "labels", CANARY), ("metadata", "labels", "chipwatt.io/class"),
    ("metadata", "labels", "chipwatt.io/gang"), ("metadata", "labels", "chipwatt.io/replicas"),
    ("metadata", "managedFields"), ("spec", "containers", 0, "name"),
    ("spec", "containers", 0, "env", 0, "name"), ("spec", "containers", 0, "env", 0, "value"),
    ("spec", "containers", 0, "args", 1), ("spec", "containers", 0, "command", 0),
    ("spec", "containers", 0, "image"), ("spec", "containers", 0, "resources", "requests", "cpu"),
    ("spec", "containers", 0, "resources", "requests", CANARY), ("spec", "nodeName"),
    ("spec", "containers"), ("spec", "initContainers", 0), ("spec", CANARY), ("status", "message"),
    ("status",), (CANARY,), UID,
)  # fmt: skip


class World:
    """An extender with everything that leaves it on record."""

    def __init__(self, server: PlacementServer, kube: KubeApiServer) -> None:
        self.server, self.kube, self.counts = server, kube, Tally("k8s")
        self.client = PlacementClient(server.address)
        self.log = io.StringIO()
        resources = frozenset(DRAW_MW) - {POD}
        rules = Rules(deadline_s=20.0)
        self.apps = [
            application(Extender(self.client, rules, api, self.counts), self.counts, resources)
            for api in (None, KubeApi(kube.url, None, None))
        ]

    def seen(self) -> str:
        """All that came out, but for what Kubernetes itself was told to bind."""
        wire = b"".join(self.server.wire).decode("latin-1")
        kept = repr([(key, r.SerializeToString()) for key, r in self.server.book.items()])
        return wire + kept + self.log.getvalue() + self.counts.text()


@pytest.fixture
def world() -> Iterator[World]:
    with placement_server(PlacementServer()) as server, kube_api(KubeApiServer()) as kube:
        made = World(server, kube)
        handler = logging.StreamHandler(made.log)
        handler.setFormatter(LineFormatter(as_json=True))
        root = logging.getLogger()
        level = root.level
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        try:
            yield made
        finally:
            root.removeHandler(handler)
            root.setLevel(level)


def planted(pod: dict[str, Any], spot: tuple[str | int, ...], text: str) -> dict[str, Any]:
    made = copy.deepcopy(pod)
    part: Any = made
    for step in spot[:-1]:
        part = part[step]
    part[spot[-1]] = text
    return made


def frames(trace: TracebackType | None) -> Iterator[str]:
    """Everything that our own frames of an exception hold, as an error tracker would take it."""
    while trace is not None:
        if trace.tb_frame.f_globals["__name__"].startswith("chipwatt"):
            yield repr(trace.tb_frame.f_locals)
        trace = trace.tb_next


def a_pod() -> dict[str, Any]:
    pod: dict[str, Any] = json.loads((GOLDEN / "filter_names.json").read_text())["request"]["Pod"]
    return pod


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    spot=st.sampled_from(SPOTS),
    around=st.tuples(st.text(max_size=3), st.text(max_size=3)),
    trouble=st.sampled_from([None, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INVALID_ARGUMENT]),
    cut=st.integers(0, 400),
)
def test_a_canary_comes_out_nowhere(
    world: World,
    spot: tuple[str | int, ...],
    around: tuple[str, str],
    trouble: grpc.StatusCode | None,
    cut: int,
) -> None:
    world.server.behaviour.abort = trouble and (trouble, "horizon_s: no")
    pod = planted(a_pod(), spot, f"{around[0]}{CANARY}{around[1]}")
    node = {"metadata": {"name": "n1"}, "status": {}}
    bodies = {
        "filter": {"Pod": pod, "Nodes": None, "NodeNames": ["n1", "n2"]},
        "prioritize": {"Pod": pod, "Nodes": {"items": [node]}, "NodeNames": None},
        "bind": {"PodUID": a_pod()["metadata"]["uid"], "Node": "n1",
                 "PodName": f"p-{CANARY}", "PodNamespace": f"ns-{CANARY}"},
        "preempt": {"Pod": pod, "NodeNameToVictims": {"n1": {"Pods": [pod]}}},
    }  # fmt: skip
    for app in world.apps:
        for verb, given_body in bodies.items():
            body = json.dumps(given_body).encode()
            for sent in (body, body[: len(body) - cut]):
                said = ask(app, "POST", f"/scheduler/{verb}", [sent]).body.decode()
                assert CANARY not in said or spot == UID, (verb, said)
    if spot != UID:
        assert CANARY not in world.seen()
    world.server.wire.clear()
    world.server.book.clear()
    world.server._bodies.clear()


@pytest.mark.parametrize("spot", SPOTS[:-1], ids=lambda spot: ".".join(map(str, spot)))
def test_not_even_a_fault_of_ours_carries_it(world: World, spot: tuple[str | int, ...]) -> None:
    """A client that is closed raises what an extender does not expect."""
    world.client.close()
    pod = planted(a_pod(), spot, CANARY)
    body = json.dumps({"Pod": pod, "Nodes": None, "NodeNames": ["n1"]}).encode()
    for app in world.apps:
        with pytest.raises(RequestCancelled, match="closed") as raised:
            ask(app, "POST", "/scheduler/filter", [body])
        told: BaseException | None = raised.value
        while told is not None:
            assert CANARY not in repr(told) + repr(vars(told))
            assert all(CANARY not in frame for frame in frames(told.__traceback__))
            told = told.__cause__ or told.__context__
    assert CANARY not in world.seen()
