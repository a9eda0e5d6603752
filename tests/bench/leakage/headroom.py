"""What a scheduler is shown of hosts with one chip that one tenant holds, a host a trace.

Sums, forecast and what is held of a minute are those that ship. Idle minutes come
before the trace, which is as good as it gets for who looks for something in it.
"""

from __future__ import annotations

import secrets
from typing import Final

import numpy as np

from bench.leakage.traces import FIRST, LIMIT_MW, Array
from chipwatt.collector.latest import Latest
from chipwatt.collector.placement.minute_hold import LAG_S, MINUTE_S, MinuteHold
from chipwatt.collector.placement.outlook import Outlook
from chipwatt.collector.placement.predictions import Predictions
from chipwatt.collector.placement.shown_outlook import ShownOutlook
from chipwatt.collector.placement.sums import Sums
from chipwatt.collector.placement.topology import NodeKind, Parent, PowerNode, Topology
from chipwatt.collector.rings import RING_S
from chipwatt.core.clock import NS_PER_S
from fakes.fleet_moment import take_seconds
from fakes.telemetry_records import T0_S, a_host

_NOW_S: Final = (T0_S + RING_S) // MINUTE_S * MINUTE_S + LAG_S - 1
"""When the minute of the traces is shown first."""
_FIRST: Final = RING_S - LAG_S - MINUTE_S
"""Place of that minute among the seconds up to then."""
_PEAK_MS: Final = 100
"""What an agent's peaks are means of."""
_AT_ONCE: Final = 1_000
_QUANTILES: Final = (0.5, 0.77, 0.9, 0.99, 0.999)
_LIMITS_MW: Final = range(100_000, LIMIT_MW, 50_000)


def host_seconds(power_mw: Array) -> Array:
    """Return the means and the peaks of traces' seconds as agents send them, a row a trace."""
    tenths = power_mw.reshape(len(power_mw), -1, 1_000 // _PEAK_MS, _PEAK_MS).mean(axis=3)
    mean_mw = np.rint(tenths.mean(axis=2)).astype(np.int64)
    return np.hstack([mean_mw, np.rint(tenths.max(axis=2)).astype(np.int64)])


def headroom(seconds_mw: Array) -> Array:
    """Return what GetHeadroom, PredictPeak and WhatIf tell of hosts with these seconds; mW."""
    parts = range(_AT_ONCE, len(seconds_mw), _AT_ONCE)
    return np.concatenate([_told(part) for part in np.split(seconds_mw, parts)])


def _told(seconds_mw: Array) -> Array:
    hosts = [a_host(number) for number in range(len(seconds_mw))]
    mean_mw = np.full((len(hosts), RING_S), FIRST.idle_w * 1_000, np.int64)
    peak_mw = mean_mw.copy()
    traces = slice(_FIRST, _FIRST + MINUTE_S)
    mean_mw[:, traces], peak_mw[:, traces] = np.hsplit(seconds_mw, 2)
    latest = Latest()
    take_seconds(latest, hosts, _NOW_S - RING_S + 1, mean_mw, peak_mw)
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
    sums.resolve(hosts, _NOW_S)
    now = sums.look(_NOW_S)
    predictions = Predictions(topology, sums.hung)
    predictions.take(sums.bins(_NOW_S - RING_S + 1, now.final_s))
    exact = Outlook("now", _NOW_S * NS_PER_S, now, np.zeros(len(nodes)), predictions)
    return ShownOutlook(exact, MinuteHold(exact, secrets.token_bytes(16)))
