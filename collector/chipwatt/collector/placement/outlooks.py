"""Makes an outlook a second: topology, sums and forecast in step, and the forecast's memory."""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from chipwatt.collector.forecast.contract import Calibration
from chipwatt.collector.latest import Latest
from chipwatt.collector.placement.forecast_memory import ForecastMemory
from chipwatt.collector.placement.graph import Graph
from chipwatt.collector.placement.outlook import Asked, Outlook
from chipwatt.collector.placement.topology import Topology, flat
from chipwatt.collector.placement.topology_reload import TopologyFile
from chipwatt.core import log
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.tables import Array

KEPT_NS = 60 * NS_PER_S
"""How long an outlook can be found by its id, and a question is made ready for."""
_KEPT_BYTES = 64 * 1024 * 1024
"""About as much is spent on outlooks that are found by their ids: for less time than a minute
where a large fleet is ranked every second."""
_MOMENT_BYTES, _RESERVED_BYTES = 256, 8
"""What a node takes in one moment, and once more for every other state of the reservations."""
_MOST_WANTED = 16
"""Horizons and quantiles made ready each second; whoever asks for more waits for them."""
_OLD_NS = 3 * NS_PER_S // 2
"""Nobody ticks: who asks makes the outlook."""
_LARGE_HOSTS = 1_000
_GROW_EVERY_NS = 10 * NS_PER_S
"""Of larger fleets without a file the graph is made anew at most so often."""
_REMEMBERED = 8
Reserved = Callable[[Topology], Array]
_log = log.get(__name__)


class OutlookSource(Protocol):
    """Where answers get their outlooks from: ``Outlooks``, or what may be shown of them."""

    @property
    def topology_error(self) -> str:
        """Return why the topology file is not in force as it is now; empty where it is."""
        ...

    def topology_at(self, unix_ns: int) -> Topology | None:
        """Return the topology that was in force then; None: before what is remembered."""
        ...

    def latest(self) -> Outlook:
        """Return the newest outlook, with every reservation made so far."""
        ...

    def get(self, id: str) -> Outlook | None:  # noqa: A002 - what it is
        """Return the outlook of that id; None where it is older than a minute, or never was."""
        ...


class Outlooks:
    """The newest outlook for everybody; safe between threads.

    Without a topology file every known host hangs on one site, so the graph grows as
    hosts appear. Where there is a file for the forecast's memory, nothing is learned until
    ``begin`` has read it.
    """

    def __init__(
        self,
        latest: Latest,
        unix_ns: Callable[[], int],
        *,
        file: TopologyFile | None = None,
        state_path: Path | None = None,
        reserved_mw: Reserved | None = None,
    ) -> None:
        self._latest = latest
        self._unix_ns = unix_ns
        self._file = file
        self._memory = ForecastMemory(state_path) if state_path else None
        self._has_begun = state_path is None
        self._reserved_mw = reserved_mw or _nothing
        self._lock = threading.RLock()
        self._reload_wanted = False
        self._graph: Graph | None = None
        self._membership = -1
        self._made_unix_ns = 0
        self._is_outgrown = False
        self._strangers = 0
        self._remembered: deque[tuple[int, Topology]] = deque(maxlen=_REMEMBERED)
        self._boot = secrets.token_hex(4)
        self._made = 0
        self._newest: Outlook | None = None
        self._named: dict[str, Outlook] = {}
        self._wanted: dict[Asked, int] = {}

    @property
    def topology(self) -> Topology:
        """Return the topology in force."""
        return self.latest().topology

    @property
    def topology_error(self) -> str:
        """Return why the topology file is not in force as it is now; empty where it is."""
        return self._file.error if self._file else ""

    def topology_at(self, unix_ns: int) -> Topology | None:
        """Return the topology that was in force then; None: before what is remembered."""
        self.latest()
        with self._lock:
            known = [topology for since, topology in self._remembered if since <= unix_ns]
        return known[-1] if known else None

    def latest(self) -> Outlook:
        """Return the newest outlook, with every reservation made so far."""
        outlook = self._newest
        if outlook is None or self._is_old(outlook):
            with self._lock:
                outlook = self._newest
                if outlook is None or self._is_old(outlook):
                    outlook = self._look()
        reserved = self._reserved_mw(outlook.topology)
        if np.array_equal(reserved, outlook.reserved_mw):
            return outlook
        with self._lock:
            return self._publish(outlook.with_reserved(self._next_id(), reserved))

    def get(self, id: str) -> Outlook | None:  # noqa: A002 - what it is
        """Return the outlook of that id; None where it is older than a minute, or never was."""
        with self._lock:
            self._forget()
            return self._named.get(id)

    def calibrations(self) -> list[Calibration]:
        """Return how every predictor has held over seven days; empty before the first outlook."""
        graph = self._graph
        return [] if graph is None else graph.predictions.calibrations()

    def begin(self) -> None:
        """Take up what the forecast knew when the last process ended, and what came since.

        Once, when the newest state is read back. Of a large fleet that takes seconds, for
        which nobody waits.
        """
        graph = Graph(self.latest().topology, self._latest)
        now_s = self._unix_ns() // NS_PER_S
        graph.resolve(now_s)
        now = graph.sums.look(now_s)
        if self._memory is not None:
            graph.predictions = self._memory.recall(graph.predictions)
        graph.learn(now)
        with self._lock:
            if self._graph is None or self._graph.topology is graph.topology:
                self._graph, self._membership = graph, -1
            else:
                self._graph.take_over(graph.predictions.state())
            self._has_begun = True
            self._look()
        self._save()

    def tick(self) -> Outlook:
        """Do what is due once a second; returns the newest outlook."""
        renewed = None
        if self._file is not None:
            wanted, self._reload_wanted = self._reload_wanted, False
            renewed = self._file.renewed(whatever=wanted)
        with self._lock:
            if renewed is not None:
                self._put_in_force(renewed)
            outlook = self._look()
        if self._memory is not None and self._memory.is_due(self._unix_ns()):
            self._save()
        return outlook

    def reload(self) -> None:
        """Read the topology file at the next tick, whatever it looks like."""
        self._reload_wanted = True

    def close(self) -> None:
        """Write down what the forecast has learned."""
        self._save()

    def _save(self) -> None:
        graph = self._graph
        if self._memory is not None and self._has_begun and graph is not None:
            self._memory.save(graph.predictions, self._unix_ns())

    def _is_old(self, outlook: Outlook) -> bool:
        age_ns = abs(self._unix_ns() - outlook.as_of_unix_ns)
        return age_ns >= _OLD_NS or self._membership != self._latest.membership

    def _look(self) -> Outlook:
        """Take every second that is due and publish what follows."""
        now_unix_ns = self._unix_ns()
        graph = self._current(now_unix_ns)
        now = graph.sums.look(now_unix_ns // NS_PER_S)
        if self._has_begun:
            graph.learn(now)
        reserved = self._reserved_mw(graph.topology)
        outlook = Outlook(self._next_id(), now_unix_ns, now, reserved, graph.predictions)
        if self._newest is not None:
            self._wanted |= dict.fromkeys(self._newest.touched, now_unix_ns)
        self._wanted = still_asked(self._wanted, now_unix_ns)
        for asked in self._wanted:
            outlook.prepare(asked)
        return self._publish(outlook)

    def _publish(self, outlook: Outlook) -> Outlook:
        self._forget()
        self._newest = outlook
        return outlook

    def _forget(self) -> None:
        """Keep the newest if somebody knows its id, and of the others those of a minute."""
        if self._newest is not None and self._newest.is_named:
            self._named[self._newest.id] = self._newest
        since_ns = self._unix_ns() - KEPT_NS
        kept: list[Outlook] = []
        room, newer = _KEPT_BYTES, None
        for old in reversed(self._named.values()):
            is_same = newer is not None and newer.shares(old)
            newer = old
            room -= len(old.now_mw) * (_RESERVED_BYTES if is_same else _MOMENT_BYTES)
            if room < 0 and kept:
                break
            if old.as_of_unix_ns >= since_ns:
                kept.append(old)
        self._named = {old.id: old for old in reversed(kept)}

    def _next_id(self) -> str:
        self._made += 1
        return f"{self._boot}-{self._made}"

    def _current(self, now_unix_ns: int) -> Graph:
        """Return the graph, with hosts that have appeared."""
        graph, membership = self._graph, self._latest.membership
        if graph is not None and membership == self._membership and not self._is_outgrown:
            return graph
        self._membership = membership
        known = [(host.hex(), name) for host, name in self._latest.hosts()]
        if self._file is None:
            is_late = now_unix_ns >= self._made_unix_ns + _GROW_EVERY_NS
            if graph is not None and len(known) > _LARGE_HOSTS and not is_late:
                self._is_outgrown = True
                return graph
            self._is_outgrown = False
            return self._put_in_force(flat(known))
        graph = graph or self._put_in_force(self._file.topology)
        ours = {host.hex() for host in graph.resolve(now_unix_ns // NS_PER_S)}
        self._tell_strangers(len({host for host, _ in known} - ours))
        return graph

    def _put_in_force(self, topology: Topology) -> Graph:
        """Make a topology's graph the one in force; what was learned goes over by node id."""
        self._made_unix_ns, before = self._unix_ns(), self._graph
        last = before.topology.version if before else 0
        topology.version = max(last + 1, self._made_unix_ns // NS_PER_MS)
        if self._file is None:
            self._remembered.clear()
        self._remembered.append((self._made_unix_ns, topology))
        graph = self._graph = Graph(topology, self._latest)
        if before is not None:
            graph.take_over(before.predictions.state())
        graph.resolve(self._made_unix_ns // NS_PER_S)
        return graph

    def _tell_strangers(self, strangers: int) -> None:
        if strangers and strangers != self._strangers:
            _log.warning("hosts report that the topology lacks", hosts=strangers)
        self._strangers = strangers


def still_asked(asked: Mapping[Asked, int], now_unix_ns: int) -> dict[Asked, int]:
    """Return the newest questions of a minute, which are made ready, with when they were asked."""
    recent = sorted(asked.items(), key=lambda each: each[1])[-_MOST_WANTED:]
    return {question: ns for question, ns in recent if now_unix_ns - ns < KEPT_NS}


def _nothing(topology: Topology) -> Array:
    return np.zeros(len(topology.nodes))
