"""What a scheduler is shown of hosts with one chip that one tenant holds, a host a trace.

Sums, forecast and what is held of a minute are those that ship. Nine idle minutes come
before the trace, which is as good as it gets for who looks for something in it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from bench.leakage.traces import FIRST, LIMIT_MW, WINDOW_MS, Array
from chipwatt.collector.latest import Latest
from chipwatt.collector.placement.crowds import few_hosts
from chipwatt.collector.placement.minute_hold import MinuteHold
from chipwatt.collector.placement.outlook import Outlook
from chipwatt.collector.placement.predictions import Predictions
from chipwatt.collector.placement.shown_outlook import ShownOutlook
from chipwatt.collector.placement.sums import Sums
from chipwatt.collector.placement.topology import NodeKind, Parent, PowerNode, Topology
from chipwatt.collector.rings import RING_S
from chipwatt.core.clock import NS_PER_S
from fakes.fleet_moment import take_seconds
from fakes.telemetry_records import T0_S, a_host

_END_S: Final = T0_S // 60 * 60 + RING_S
_PEAK_MS: Final = 100
"""What an agent's peaks are means of."""
_QUANTILES: Final = (0.5, 0.77, 0.9, 0.99, 0.999)
_LIMITS_MW: Final = range(100_000, LIMIT_MW, 50_000)


def headroom(power_mw: Array) -> Array:
    """Return what GetHeadroom, PredictPeak and WhatIf tell of each trace's host; mW, a row a trace.

    Traces are 60 s at 1 kHz.
    """
    count = len(power_mw)
    hosts = [a_host(number) for number in range(count)]
    idle = np.full((count, RING_S * 1_000 - WINDOW_MS), FIRST.idle_w * 1_000, np.int32)
    seconds = np.hstack([idle, power_mw]).reshape(count, RING_S, 1_000)
    latest = Latest()
    mean_mw = seconds.mean(axis=2, dtype=np.float64).round().astype(np.int64)
    peak_mw = seconds.reshape(count, RING_S, -1, _PEAK_MS).mean(axis=3).max(axis=2)
    take_seconds(latest, hosts, _END_S - RING_S + 1, mean_mw, peak_mw)
    shown = _shown(latest, hosts)
    at = shown.topology.hosts
    found = [shown.now_mw, shown.mean_mw, shown.peak_1s_mw]
    for horizon_s in (60, 600):
        found += [shown.peak_mw(horizon_s, quantile) for quantile in _QUANTILES]
        found.append(shown.prediction(horizon_s, _QUANTILES[0]).base_mw)
        limits = (np.full(len(shown.now_mw), float(limit)) for limit in _LIMITS_MW)
        found += [shown.exceed_ppm(horizon_s, limit_mw) for limit_mw in limits]
    return np.stack([column[at] for column in found], axis=1)


def _shown(latest: Latest, hosts: list[bytes]) -> ShownOutlook:
    nodes = [PowerNode("site", NodeKind.SITE)]
    nodes += [
        PowerNode(host.hex(), NodeKind.HOST, (Parent("site"),), LIMIT_MW, host=host.hex())
        for host in hosts
    ]
    topology = Topology(nodes)
    sums = Sums(topology, latest)
    sums.resolve(hosts, _END_S)
    now = sums.look(_END_S)
    predictions = Predictions(topology, sums.hung)
    predictions.take(sums.bins(_END_S - RING_S + 1, now.final_s))
    exact = Outlook("now", _END_S * NS_PER_S, now, np.zeros(len(nodes)), predictions)
    return ShownOutlook(exact, MinuteHold(exact, few_hosts(topology)))
