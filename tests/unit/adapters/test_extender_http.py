"""The extender's contract with kube-scheduler: JSON as it is sent, replies as they are read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from chipwatt.adapters.demands import DRAW_MW, POD
from chipwatt.adapters.extender import Extender, Rules
from chipwatt.adapters.extender_http import MOST_BODY_BYTES, application
from chipwatt.adapters.kube_api import KubeApi
from chipwatt.adapters.tally import Tally
from chipwatt.client import PlacementClient
from fakes.asgi import ask
from fakes.placement_server import PlacementServer, placement_server

GOLDEN = Path(__file__).parents[2] / "golden" / "extender"
CASES = sorted(path.stem for path in GOLDEN.glob("*.json"))
GENEROUS = Rules(deadline_s=20.0)
NO_API = KubeApi("http://127.0.0.1:1", None, None, timeout_s=1.0)


@contextmanager
def running(
    server: PlacementServer, *, binds: bool, rules: Rules = GENEROUS
) -> Iterator[Starlette]:
    with placement_server(server), PlacementClient(server.address) as client:
        counts = Tally("k8s")
        extender = Extender(client, rules, NO_API if binds else None, counts)
        yield application(extender, counts, frozenset(DRAW_MW) - {POD})


def golden(case: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((GOLDEN / f"{case}.json").read_text())
    return loaded


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    held = golden(case)
    server = PlacementServer(budget_mw=held.get("budget_mw", 10_000_000))
    server.now_unix_ns = time.time_ns
    with running(server, binds=held["binds"]) as app:
        body = json.dumps(held["request"]).encode()
        reply = ask(app, "POST", f"/scheduler/{held['verb']}", [body])
    assert reply.status == 200
    assert json.loads(reply.body) == held["reply"]
    # Go decodes a score into int64: 7.0 would fail the whole call.
    assert b"." not in reply.body.partition(b'"Score"')[2]


def pod_of(size: int) -> bytes:
    request = golden("filter_names")["request"]
    request["Pod"]["spec"]["containers"][0]["env"][0]["value"] = ""
    bare = len(json.dumps(request))
    request["Pod"]["spec"]["containers"][0]["env"][0]["value"] = "x" * (size - bare)
    return json.dumps(request).encode()


@pytest.mark.parametrize("size", [1024 * 1024, MOST_BODY_BYTES])
def test_a_large_pod_is_answered(size: int) -> None:
    body = pod_of(size)
    assert len(body) == size
    with running(PlacementServer(), binds=True) as app:
        parts = [body[at : at + 65_536] for at in range(0, size, 65_536)]
        reply = ask(app, "POST", "/scheduler/filter", parts)
    assert reply.status == 200
    assert json.loads(reply.body)["NodeNames"] == ["n1", "n2"]


@pytest.mark.parametrize("count", [65, 1_000])
def test_a_body_beyond_the_limit_is_not_taken(count: int) -> None:
    parts = [b"x" * 65_536] * count
    server = PlacementServer()
    with running(server, binds=True) as app:
        reply = ask(app, "POST", "/scheduler/filter", parts)
        assert reply.status == 413
        assert b'verb="filter",outcome="unusable"} 1' in ask(app, "GET", "/metrics").body
    assert server.requests == []


@pytest.mark.parametrize("verb", ["filter", "prioritize", "bind", "preempt"])
@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b"{}"])
def test_bad_json_is_400_and_one_sentence(verb: str, body: bytes) -> None:
    with running(PlacementServer(), binds=True) as app:
        reply = ask(app, "POST", f"/scheduler/{verb}", [body])
    assert reply.status == 400
    assert reply.body.count(b"\n") == 1


def test_other_ways_in() -> None:
    with running(PlacementServer(), binds=True) as app:
        assert ask(app, "POST", "/scheduler/dance", [b"{}"]).status == 404
        assert ask(app, "GET", "/scheduler/filter").status == 405
        assert ask(app, "GET", "/healthz").body == b"ok\n"


def test_ten_thousand_names_of_which_one_is_known() -> None:
    request = golden("filter_names")["request"]
    request["NodeNames"] = [f"x{n}" for n in range(9_999)] + ["n2"]
    with running(PlacementServer(), binds=True) as app:
        reply = json.loads(
            ask(app, "POST", "/scheduler/filter", [json.dumps(request).encode()]).body
        )
    assert reply["NodeNames"] == ["n2"]
    assert len(reply["FailedAndUnresolvableNodes"]) == 9_999
