"""Poses as load-watcher, so that Trimaran and PEAKS score nodes by power without knowing it.

A node's load is the share of the tightest budget on its way up that is in use: of its
own, its rack's, its feed's. ``AVG`` is the mean over ten minutes. ``STD`` is what is
left to the predicted peak at 0.99, over 2.326: the deviation of a bell curve that
reaches this peak once in a hundred, so that LoadVariationRiskBalancing ranks by the
risk of the peak. Both in %, under the type ``CPU``, the one that its plugins read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from chipwatt.adapters import tally
from chipwatt.adapters.http_server import in_thread
from chipwatt.adapters.tally import Tally
from chipwatt.client import HeadroomInfo, PlacementClient, TopologyInfo
from chipwatt.core import log
from chipwatt.core.errors import ChipwattError

WINDOW_S = 600
"""Means and predictions are over the last and the next ten minutes."""
_ROLLUP = "10m"
_NORMAL_99 = 2.326
_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Load:
    """How much of the tightest budget above a node is in use, in %."""

    mean: float
    deviation: float


def loads(topology: TopologyInfo, headrooms: Mapping[str, HeadroomInfo]) -> dict[str, Load]:
    """Return the load of every host node by id; nodes stand after their parents."""
    worst: dict[str, Load] = {}
    for node in topology.nodes:
        own = _load(headrooms.get(node.id))
        above = [worst[parent.id] for parent in node.parents if parent.id in worst]
        worst[node.id] = max([own, *above], key=lambda load: (load.mean, load.deviation))
    return {node.id: worst[node.id] for node in topology.nodes if node.kind == "host"}


def _load(headroom: HeadroomInfo | None) -> Load:
    if headroom is None or not headroom.budget_mw:
        return Load(0.0, 0.0)
    percent = 100 / headroom.budget_mw
    spread_mw = max(0, headroom.predicted_peak_mw - headroom.mean_mw)
    return Load(headroom.mean_mw * percent, spread_mw * percent / _NORMAL_99)


def application(
    client: PlacementClient, counts: Tally, unix_s: Callable[[], float] = time.time
) -> Starlette:
    """Return the web application."""

    def measured() -> dict[str, Load] | None:
        try:
            topology = client.topology()
            headrooms = {item.node_id: item for item in client.headroom()}
        except ChipwattError as error:
            counts.count("watcher", "unavailable")
            _log.warning("the collector gave no usable answer", reason=str(error))
            return None
        counts.count("watcher", "answered")
        return loads(topology, headrooms)

    async def every(_request: Request) -> Response:
        found = await in_thread(measured)
        if found is None:
            return PlainTextResponse("the collector gives no answer\n", 503)
        return JSONResponse(_message(found, int(unix_s())))

    async def one(request: Request) -> Response:
        found = await in_thread(measured)
        if found is None:
            return PlainTextResponse("the collector gives no answer\n", 503)
        host = request.path_params["host"]
        if host not in found:
            return PlainTextResponse("no such host in the power topology\n", 404)
        return JSONResponse(_message({host: found[host]}, int(unix_s())))

    async def health(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def metrics(_request: Request) -> Response:
        return PlainTextResponse(counts.text(), media_type=tally.CONTENT_TYPE)

    return Starlette(
        routes=[
            Route("/watcher", every),
            Route("/watcher/health", health),
            Route("/watcher/{host}", one),
            Route("/metrics", metrics),
        ]
    )


def _message(found: Mapping[str, Load], now_s: int) -> dict[str, Any]:
    return {
        "timestamp": now_s,
        "window": {"duration": _ROLLUP, "start": now_s - WINDOW_S, "end": now_s},
        "source": "chipwatt",
        "data": {"NodeMetricsMap": {name: _metrics(load) for name, load in found.items()}},
    }


def _metrics(load: Load) -> dict[str, Any]:
    def metric(operator: str, value: float) -> dict[str, Any]:
        return {"name": "chipwatt.power", "type": "CPU", "operator": operator, "rollup": _ROLLUP,
                "value": round(value, 3)}  # fmt: skip

    return {
        "metrics": [metric("AVG", load.mean), metric("STD", load.deviation)],
        "tags": {},
        "metadata": {},
    }
