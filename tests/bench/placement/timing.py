"""How fast placement answers, and what it keeps, as a fleet grows from 1,000 to 100,000 hosts.

Hosts of eight chips hang on racks, racks on a PDU of either feed, and so on up to the
site: six levels, eight budgets above every host. Telemetry, sums, forecast and ranks are
the collector's own; only the network is left out, though requests and answers are laid
out as they travel. ``all`` is every object, Python's own included, beside ten
minutes of seconds and what cohorts share.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.placement.cost import SHARED
from bench.placement.outcome import Outcome
from chipwatt.collector.latest import Latest
from chipwatt.collector.placement.outlook import Outlook
from chipwatt.collector.placement.predictions import Predictions
from chipwatt.collector.placement.profiles import Profiles
from chipwatt.collector.placement.rank import Ranker
from chipwatt.collector.placement.score import SiteCost
from chipwatt.collector.placement.sums import Sums
from chipwatt.collector.placement.topology import NodeKind, Parent, PowerNode, Topology
from chipwatt.collector.rings import RING_S
from chipwatt.core.clock import NS_PER_S
from chipwatt.v1 import placement_pb2 as pb
from fakes.fleet_moment import NOW_S, take_seconds
from fakes.telemetry_records import a_host

FLEETS = (1_000, 10_000, 100_000)
RANK_MS = {10_000: 10.0, 100_000: 100.0}
STEP_MS = {10_000: 50.0}
HOST_BYTES = 2_000
"""Of the forecast, its template days left out, which are history."""
CHIPS = 8
HOST_MW = CHIPS * 700_000 + 2_000_000
HOSTS_A_RACK = 16
RACKS_A_PDU = 32
PDUS_A_UPS = 8
_SNAPSHOTS = 3
_QUERIES = 80
_AT_ONCE = 2_000


def dual_fed(hosts: int) -> Topology:
    """Return a site of two feeds, each with UPSs and PDUs, and racks that hang on both."""
    half = 500_000
    racks = -(-hosts // HOSTS_A_RACK)
    pdus = -(-racks // RACKS_A_PDU)
    upses = -(-pdus // PDUS_A_UPS)
    rack_mw = HOSTS_A_RACK * HOST_MW * 3 // 4
    nodes = [PowerNode("site", NodeKind.SITE, budget_mw=racks * rack_mw * 9 // 10)]
    for feed in "AB":
        nodes.append(PowerNode(f"feed-{feed}", NodeKind.FEED, (Parent("site", feed),)))
        for u in range(upses):
            above = (Parent(f"feed-{feed}", feed),)
            budget_mw = PDUS_A_UPS * RACKS_A_PDU * rack_mw // 2
            nodes.append(PowerNode(f"ups-{feed}{u}", NodeKind.UPS, above, budget_mw=budget_mw))
        for p in range(pdus):
            above = (Parent(f"ups-{feed}{p // PDUS_A_UPS}", feed),)
            budget_mw = RACKS_A_PDU * rack_mw // 2
            nodes.append(PowerNode(f"pdu-{feed}{p}", NodeKind.PDU, above, budget_mw=budget_mw))
    for r in range(racks):
        both = tuple(Parent(f"pdu-{feed}{r // RACKS_A_PDU}", feed, half) for feed in "AB")
        nodes.append(PowerNode(f"rack-{r}", NodeKind.RACK, both, budget_mw=rack_mw))
    for h in range(hosts):
        above = (Parent(f"rack-{h // HOSTS_A_RACK}"),)
        nodes.append(
            PowerNode(f"host-{h}", NodeKind.HOST, above, HOST_MW, HOST_MW, hw_class=f"gpu-{h % 2}")
        )
    return Topology(nodes)


class Fleet:
    """A topology whose hosts report, second after second."""

    def __init__(self, hosts: int, profiles: Profiles) -> None:
        tracemalloc.start()
        self._rng = np.random.default_rng(hosts)
        self._level_mw = self._rng.uniform(0.3, 0.6, hosts) * HOST_MW
        self.topology = dual_fed(hosts)
        self._ids = [a_host(h) for h in range(hosts)]
        self._latest = Latest()
        self._second = NOW_S
        # Of a large fleet half a minute is told and the rest filled in, as after a restart.
        seconds = RING_S if hosts <= FLEETS[0] else 30
        for first in range(0, hosts, _AT_ONCE):
            self._report(slice(first, first + _AT_ONCE), seconds)
        self._report(slice(None), 1)  # the newest second holds on to the table that it came in
        self._sums = Sums(self.topology, self._latest)
        self._sums.resolve(self._ids, self._second)
        self._predictions = Predictions(self.topology, self._sums.hung)
        self.ranker = Ranker(profiles, lambda sites, _: {s: SiteCost(1.0, 1.0) for s in sites})
        self.outlook = self.look()
        self.ranker.rank(self.outlook, 600, 0.99, request_for(0))
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        parts = self._predictions.forecaster._parts
        seconds = _bytes(self._latest._rings) + _bytes(self._sums._history)
        shared = sum(_bytes(part) for part in (parts.scores, parts.by_minute, parts.book))
        self.all_bytes = (held - seconds - shared) / hosts
        kept = self._predictions.state()
        own = [value.nbytes for name, value in kept.items() if not name.startswith(SHARED)]
        self.forecast_bytes = sum(own) / hosts

    def look(self) -> Outlook:
        """Return the outlook of the newest second."""
        now = self._sums.look(self._second)
        self._final_s = now.final_s
        reserved = np.zeros(len(self.topology.nodes))
        name = f"bench-{self._second}"
        return Outlook(name, self._second * NS_PER_S, now, reserved, self._predictions)

    def next_second(self) -> float:
        """Let a second pass; return how long the forecast took its bin, in ms."""
        self._second += 1
        self._report(slice(None), 1)
        self.outlook = self.look()
        bins = list(self._sums.bins(self._final_s - 1, self._final_s))
        return _ms(lambda: self._predictions.take(bins))

    def _report(self, which: slice, seconds: int) -> None:
        level = self._level_mw[which, np.newaxis]
        mean = level * self._rng.uniform(0.8, 1.2, (len(level), seconds))
        first_s = self._second - seconds + 1
        take_seconds(self._latest, self._ids[which], first_s, mean, mean * 1.05)


def request_for(number: int) -> pb.RankCandidatesRequest:
    """Return a question of a scheduler: ten hosts of all, for demands that differ."""
    peak_mw = 400_000 + 7_000 * (number % 100)
    inline = pb.InlineProfile(mean_mw=peak_mw // 2, peak_mw=peak_mw, swing_class=number % 3)
    demand = pb.Demand(inline=inline, replicas=1 + number % 4)
    return pb.RankCandidatesRequest(demand=demand, limit=10)


def run() -> Outcome:
    """Print a row a fleet."""
    outcome = Outcome()
    with TemporaryDirectory() as folder:
        profiles = Profiles(Path(folder) / "placement.sqlite")
        head = "  hosts   nodes  rank ms: p50    p99  prepare  headroom ms  bin ms"
        print(head + "  forecast B/host   all")
        for hosts in FLEETS:
            _measure(hosts, profiles, outcome)
        profiles.close()
    return outcome


def _measure(hosts: int, profiles: Profiles, outcome: Outcome) -> None:
    fleet = Fleet(hosts, profiles)
    rank_ms, prepare_ms, headroom_ms, step_ms = [], [], [], []
    for snapshot in range(_SNAPSHOTS):
        step_ms.append(fleet.next_second())
        outlook = fleet.outlook
        headroom_ms.append(_ms(lambda: outlook.room(600, 0.99)))  # noqa: B023 - called at once
        prepare_ms.append(_ms(lambda: fleet.ranker.prepare(outlook)))  # noqa: B023
        numbers = range(snapshot * _QUERIES, (snapshot + 1) * _QUERIES)
        rank_ms += [_ms(lambda: _rank(fleet, number)) for number in numbers]  # noqa: B023
    p50, p99 = np.quantile(rank_ms, [0.5, 0.99])
    prepare, headroom, step = map(max, (prepare_ms, headroom_ms, step_ms))
    print(
        f"{hosts:>7} {len(fleet.topology.nodes):>7} {p50:13.2f} {p99:6.2f} {prepare:8.1f}"
        f" {headroom:12.1f} {step:7.1f} {fleet.forecast_bytes:16.0f} {fleet.all_bytes:5.0f}"
    )
    at = f"{hosts} hosts"
    outcome.figures |= {
        f"rank p99 ms, {at}": float(p99),
        f"headroom ms, {at}": headroom,
        f"forecast bin ms, {at}": step,
        f"forecast bytes a host, {at}": fleet.forecast_bytes,
        f"bytes a host, {at}": fleet.all_bytes,
    }
    most = RANK_MS.get(hosts, np.inf)
    outcome.bound(
        holds=p99 <= most, complaint=f"{at}: a rank takes {p99:.1f} ms at p99, more than {most}"
    )
    most = STEP_MS.get(hosts, np.inf)
    outcome.bound(
        holds=step <= most, complaint=f"{at}: a bin takes {step:.1f} ms, more than {most}"
    )
    heavy = fleet.forecast_bytes > HOST_BYTES
    outcome.bound(
        holds=not heavy, complaint=f"{at}: {fleet.forecast_bytes:.0f} bytes each in the forecast"
    )


def _rank(fleet: Fleet, number: int) -> bytes:
    """Answer a question as it travels."""
    request = pb.RankCandidatesRequest.FromString(request_for(number).SerializeToString())
    ranked = fleet.ranker.rank(fleet.outlook, 600, 0.99, request)
    if len(ranked.candidates) != 10:
        raise AssertionError(f"{len(ranked.candidates)} candidates instead of 10")
    return pb.RankCandidatesResponse(candidates=ranked.candidates).SerializeToString()


def _ms(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e3


def _bytes(of: object) -> int:
    """Return what the arrays of an object take."""
    return sum(value.nbytes for value in vars(of).values() if isinstance(value, np.ndarray))
