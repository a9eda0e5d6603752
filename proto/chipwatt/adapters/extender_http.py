"""The extender over HTTP: kube-scheduler's JSON in and out, bodies forgotten at once.

Keys are the names of Go's structs in k8s.io/kube-scheduler/extender/v1; scores are
integers, since Go refuses anything else; no reply names a node that was not asked
about. ``Error`` stays empty but for bind, whose only way to say no it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from chipwatt.adapters import pod, tally
from chipwatt.adapters.asked import Question, Unusable, Victims
from chipwatt.adapters.extender import Extender, Verdict
from chipwatt.adapters.http_server import body_of, in_thread
from chipwatt.adapters.tally import Tally

MOST_BODY_BYTES = 4 * 1024 * 1024
_PREFIX = "/scheduler"
_TOO_LARGE = Unusable(f"the body is larger than {MOST_BODY_BYTES} bytes")


def application(extender: Extender, counts: Tally, resources: frozenset[str]) -> Starlette:
    """Return the web application; ``resources`` are those whose requests are read."""
    readers: dict[str, Callable[[bytes], Any]] = {
        "filter": lambda body: pod.question(body, resources),
        "prioritize": lambda body: pod.question(body, resources),
        "bind": pod.binding,
        "preempt": pod.victims,
    }
    deciders: dict[str, Callable[[Any], Any]] = {
        "filter": lambda asked: _filter_reply(asked, extender.filter(asked)),
        "prioritize": lambda asked: _scores(extender.prioritize(asked)),
        "bind": lambda asked: {"Error": extender.bind(asked)},
        "preempt": _preempt_reply,
    }

    def read(verb: str, body: bytes | None) -> Any:
        return _TOO_LARGE if body is None else readers[verb](body)

    async def answer(request: Request) -> Response:
        verb = request.path_params["verb"]
        if verb not in readers:
            return PlainTextResponse("no such verb\n", 404)
        # Never a name for the body: a frame would keep it for whoever prints frames.
        asked = await in_thread(read, verb, await body_of(request, MOST_BODY_BYTES))
        if isinstance(asked, Unusable):
            counts.count(verb, "unusable")
            return PlainTextResponse(f"{asked.reason}\n", 413 if asked is _TOO_LARGE else 400)
        reply = await in_thread(deciders[verb], asked)
        return Response(json.dumps(reply), media_type="application/json")

    async def metrics(_request: Request) -> Response:
        return PlainTextResponse(counts.text(), media_type=tally.CONTENT_TYPE)

    async def health(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(
        routes=[
            Route(_PREFIX + "/{verb}", answer, methods=["POST"]),
            Route("/metrics", metrics),
            Route("/healthz", health),
        ]
    )


def _filter_reply(asked: Question, verdict: Verdict) -> dict[str, Any]:
    """Answer in the shape that was asked: names for names, objects for objects."""
    nodes = None
    if asked.nodes is not None:
        nodes = {"metadata": {}, "items": [asked.nodes[name] for name in verdict.names]}
    return {
        "Nodes": nodes,
        "NodeNames": list(verdict.names) if asked.nodes is None else None,
        "FailedNodes": dict(verdict.failed),
        "FailedAndUnresolvableNodes": dict(verdict.unresolvable),
        "Error": "",
    }


def _scores(scores: dict[str, int]) -> list[dict[str, Any]]:
    return [{"Host": name, "Score": score} for name, score in scores.items()]


def _preempt_reply(asked: Victims) -> dict[str, Any]:
    """Object to no eviction: what it frees shows in telemetry, and the pod is filtered again."""
    return {
        "NodeNameToMetaVictims": {
            node: {"Pods": [{"UID": uid} for uid in uids], "NumPDBViolations": violations}
            for node, (uids, violations) in asked.by_node.items()
        }
    }
