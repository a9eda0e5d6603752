"""A topology and what belongs to it: whose telemetry, its sums, what is predicted of them."""

from __future__ import annotations

import numpy as np

from chipwatt.collector.forecast.carry import State
from chipwatt.collector.latest import Latest
from chipwatt.collector.placement.predictions import Predictions
from chipwatt.collector.placement.sums import NodesNow, Sums
from chipwatt.collector.placement.topology import Topology
from chipwatt.collector.rings import RING_S
from chipwatt.core import log

_BACK_S = 60
"""A wall clock set back further than this is followed; until then bins are waited for."""
_log = log.get(__name__)


class Graph:
    """Not safe between threads: its owner locks."""

    def __init__(self, topology: Topology, latest: Latest) -> None:
        self.topology = topology
        self.sums = Sums(topology, latest)
        self.predictions = Predictions(topology, self.sums.hung)
        self._latest = latest
        self._again: list[str] = []

    def resolve(self, now_s: int) -> list[bytes]:
        """Find the telemetry behind each host; return the hosts that have some."""
        nodes = self.topology.nodes
        ids = [self._latest.resolve(nodes[i].host) for i in self.topology.hosts.tolist()]
        ids = self._once_each(ids)
        self.sums.resolve(ids, now_s)
        return [host for host in ids if host is not None]

    def _once_each(self, ids: list[bytes | None]) -> list[bytes | None]:
        """Leave out who stands behind an earlier node already, under a name or its id."""
        seen: set[bytes] = set()
        kept: list[bytes | None] = []
        for host in ids:
            kept.append(None if host in seen else host)
            if host is not None:
                seen.add(host)
        again = [
            self.topology.nodes[position].id
            for position, host, left in zip(self.topology.hosts.tolist(), ids, kept, strict=True)
            if host is not None and left is None
        ]
        if again != self._again:
            self._again = again
            if again:
                _log.warning(
                    "nodes whose host is another node's already count as silent", nodes=again
                )
        return kept

    def learn(self, now: NodesNow) -> None:
        """Let the forecast take every second that has become final."""
        if self.predictions.second >= now.final_s + _BACK_S:
            _log.warning("the wall clock was set back: the forecast goes on from there")
            self.take_over(self.predictions.state() | {"second": np.array(now.final_s - 1)})
        first_s = max(self.predictions.second + 1, now.second - RING_S + 1)
        self.predictions.take(self.sums.bins(first_s, now.final_s))

    def take_over(self, state: State) -> None:
        """Go on from what another forecast has learned, node by node by id."""
        self.predictions = self.predictions.anew(state)
