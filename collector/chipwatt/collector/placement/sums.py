"""Synchronous sums: every host's seconds carried up the power topology by share.

A host is two series over the same seconds of wall time, the mean and the peak within
each second, so that a node's series is a sum of what happened at once. Seconds do not
show whether the peaks of two hosts fell together within one of them; sums of peaks take
them as if they had, and bound the true peak of the sum from above.

A bin is final when it is as old as the forecast's lag; until then what arrives late is folded in.
What stands in for a host that is not heard from: see ``host_watch``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from chipwatt.collector.forecast.contract import ForecastConfig
from chipwatt.collector.latest import Latest
from chipwatt.collector.placement.history import History
from chipwatt.collector.placement.host_watch import HostsNow, HostWatch
from chipwatt.collector.placement.topology import Topology
from chipwatt.collector.rings import RING_S
from chipwatt.core.tables import Array

_LAG_S = ForecastConfig().lag_s
_CHUNK_S = 60
_SMALL_HOSTS = 1_000
_REFILL_EVERY_S = 60
"""Of larger fleets the ten minutes are summed anew at most so often."""


@dataclass(frozen=True, slots=True)
class Bin:
    """One final second of every node, as the forecast takes it."""

    second: int
    mean_mw: Array
    peak_mw: Array
    rc_like_mw: Array
    assumed_mw: Array
    known: Array
    """Share of what hangs on the node that was heard from; 0 where nothing hangs on it."""


@dataclass(frozen=True, slots=True)
class NodesNow:
    """Every node at one moment: what the bins that are not final yet add to the history."""

    second: int
    final_s: int
    """The first second that is not final."""
    now_mw: Array
    assumed_mw: Array
    """What stands in for hosts beneath that are not heard from."""
    tail_mean_mw: Array
    """Columns: the seconds from ``final_s`` up to now."""
    tail_peak_mw: Array
    """The highest of them a node."""
    history: History
    hosts: HostsNow

    def history_mw(self, positions: Array) -> Array:
        """Return the last ten minutes of these nodes, a mean a second, newest last."""
        first = self.second - RING_S + 1
        old = self.history.means(positions, first, self.final_s)
        return np.concatenate([old, self.tail_mean_mw[positions]], axis=1)

    def mean_mw(self) -> Array:
        """Return per node the mean of the last ten minutes."""
        total = self.history.total_mean_mw(self.second - RING_S + 1, self.final_s)
        mean: Array = (total + self.tail_mean_mw.sum(axis=1, dtype=np.float64)) / RING_S
        return mean

    def peak_1s_mw(self) -> Array:
        """Return per node the highest second of the last ten minutes."""
        old = self.history.highest_mean_mw(self.second - RING_S + 1, self.final_s)
        highest: Array = np.maximum(old, self.tail_mean_mw.max(axis=1))
        return highest

    def highest_mw(self, positions: Array) -> Array:
        """Return the highest sum of in-bin peaks of the last ten minutes of these nodes."""
        old = self.history.highest_peak_mw(positions, self.second - RING_S + 1, self.final_s)
        highest: Array = np.maximum(old, self.tail_peak_mw[positions])
        return highest


class Sums:
    """The sums of one topology. Not safe between threads: its owner locks."""

    def __init__(self, topology: Topology, latest: Latest) -> None:
        self.topology = topology
        self._watch = HostWatch(topology.rated_mw[topology.hosts], latest)
        self._history = History(len(topology.nodes))
        self._hung = self._carried(np.ones((len(topology.hosts), 1)))[:, 0]
        self._fresh = np.zeros(len(topology.hosts), dtype=bool)
        self._refilled_s = 0
        self._changed = True
        self._written_s = 0
        self._hosts: HostsNow | None = None

    def resolve(self, ids: Sequence[bytes | None], now_s: int) -> None:
        """Say which telemetry stands behind each of ``topology.hosts``."""
        self._changed |= self._watch.resolve(ids, now_s)

    def look(self, now_s: int) -> NodesNow:
        """Return every node as of second ``now_s``."""
        hosts = self._hosts = self._watch.look(now_s)
        self._changed |= bool((hosts.fresh != self._fresh).any())
        self._fresh = hosts.fresh
        final_s = now_s - _LAG_S + 1
        if self._is_refill_due(now_s):
            self._fill(now_s - RING_S + 1, final_s)
            self._changed, self._refilled_s = False, now_s
        else:
            self._fill(max(self._written_s + 1, now_s - RING_S + 1), final_s)
        self._written_s = final_s - 1
        tail = np.arange(final_s, now_s + 1)
        loads = self._watch.loads(tail, hosts.fresh[:, np.newaxis])
        assumed = np.where(hosts.fresh, 0.0, hosts.assumed_mw)
        columns = self._carried(
            np.concatenate([loads.mean_mw, loads.peak_mw, assumed[:, np.newaxis]], axis=1)
        )
        mean = columns[:, : len(tail)]
        return NodesNow(
            second=now_s,
            final_s=final_s,
            now_mw=mean[:, -1].copy(),
            assumed_mw=columns[:, -1].copy(),
            tail_mean_mw=mean.astype(np.float32),
            tail_peak_mw=columns[:, len(tail) : -1].max(axis=1),
            history=self._history,
            hosts=hosts,
        )

    def bins(self, first_s: int, end_s: int) -> Iterator[Bin]:
        """Yield the final bins from ``first_s`` up to ``end_s``; after ``look``.

        Where several are asked for at once, they are made up for: seconds in which nothing
        was measured are left out, and a host that is filled in does not count as heard.
        """
        if self._hosts is None:
            raise RuntimeError("bins are summed after a look at the hosts")
        hosts = self._hosts
        made_up_for = end_s - first_s > _LAG_S
        for start in range(first_s, end_s, _CHUNK_S):
            seconds = np.arange(start, min(start + _CHUNK_S, end_s))
            heard = self._watch.heard_then(seconds, _LAG_S)
            loads = self._watch.loads(seconds, heard)
            assumed = np.where(heard, 0.0, hosts.assumed_mw[:, np.newaxis])
            some = np.ones(len(seconds), dtype=bool)
            if made_up_for:
                some = np.logical_or.reduce(self._watch.known(seconds).known, axis=0)
                heard = loads.sure
            parts = [loads.mean_mw, loads.peak_mw, assumed, heard.astype(np.float64)]
            columns = self._carried(
                np.concatenate([*parts, hosts.rc_like_mw[:, np.newaxis]], axis=1)
            )
            mean, peak, stand_in, share = np.split(columns[:, :-1], 4, axis=1)
            hung = np.where(self._hung > 0, self._hung, np.inf)[:, np.newaxis]
            for at in np.flatnonzero(some).tolist():
                yield Bin(
                    second=int(seconds[at]),
                    mean_mw=mean[:, at],
                    peak_mw=peak[:, at],
                    rc_like_mw=columns[:, -1],
                    assumed_mw=stand_in[:, at],
                    known=(share / hung)[:, at],
                )
        self._watch.rest()

    @property
    def hung(self) -> Array:
        """Return per node how many hosts it carries, by share."""
        return self._hung

    def _is_refill_due(self, now_s: int) -> bool:
        small = len(self._fresh) <= _SMALL_HOSTS
        return self._changed and (small or now_s >= self._refilled_s + _REFILL_EVERY_S)

    def _fill(self, first_s: int, end_s: int) -> None:
        """Sum these seconds into the history, with what is known of the hosts now."""
        for start in range(first_s, end_s, _CHUNK_S):
            seconds = np.arange(start, min(start + _CHUNK_S, end_s))
            loads = self._watch.loads(seconds, self._fresh[:, np.newaxis])
            columns = self._carried(np.concatenate([loads.mean_mw, loads.peak_mw], axis=1))
            mean, peak = np.split(columns, 2, axis=1)
            self._history.write(seconds, mean, peak)

    def _carried(self, of_hosts: Array) -> Array:
        """Return columns of all nodes from columns of the hosts.

        Chips have none: what they draw stands in their host's power.
        """
        columns = np.zeros((len(self.topology.nodes), of_hosts.shape[1]))
        columns[self.topology.hosts] = of_hosts
        self.topology.carry_up(columns)
        return columns
