"""Finds what has begun and what is over, once a second, over all nodes at once."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping

import numpy as np

from chipwatt.collector.placement.cap_advice import cap_advice
from chipwatt.collector.placement.event_levels import LevelMeter, Levels, Sight
from chipwatt.collector.placement.power_event import (
    ROW,
    RULES,
    CapAdvice,
    PowerEvent,
    PowerEventKind,
)
from chipwatt.collector.placement.topology import Topology
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.tables import Array

SETTLE_S = 60
"""After a start agents need a while to come back: until then silence says nothing."""
MAX_ADVISED = 64
"""Events of one second that come with advice, the worst and highest up first."""
_MAX_STEP_S = 10
_RAISE_AT = np.array([[rule.raise_at] for rule in RULES])
_CLEAR_BELOW = np.array([[rule.clear_below] for rule in RULES])
_OF_SILENCE = [ROW[PowerEventKind.FEED_LOSS], ROW[PowerEventKind.TELEMETRY_LOST]]
_TRIP = ROW[PowerEventKind.BREAKER_RISK]


class EventFinder:
    """Remembers what is raised. Not safe between threads."""

    def __init__(self, priorities: Callable[[], Mapping[str, int]]) -> None:
        self._priorities = priorities
        self._topology = Topology([])
        self._meter = LevelMeter(self._topology)
        self._raised = np.zeros((len(RULES), 0), dtype=bool)
        self._first_s: int | None = None
        self._last_s = 0

    def find(self, topology: Topology, sight_of: Callable[[Array], Sight]) -> list[PowerEvent]:
        """Return what began or ended since the last call, parents first.

        ``sight_of`` is asked with the positions of the nodes that have a budget.
        """
        gone = [] if topology is self._topology else self._move_to(topology)
        sight = sight_of(self._meter.budgeted)
        if self._first_s is None:
            self._first_s = self._last_s = sight.second
        elapsed_s = min(max(sight.second - self._last_s, 0), _MAX_STEP_S)
        self._last_s = sight.second
        levels = self._meter.measure(sight, elapsed_s)
        if sight.second < self._first_s + SETTLE_S:
            levels.level[_OF_SILENCE] = np.nan
        begun = (levels.level >= _RAISE_AT) & ~self._raised
        ended = (levels.level < _CLEAR_BELOW) & self._raised
        self._raised ^= begun | ended
        at_unix_ns = sight.second * NS_PER_S
        events = [PowerEvent(node_id, RULES[row], True, at_unix_ns, 0, 0) for row, node_id in gone]
        advice = self._advice(begun, levels, sight)
        for position, row in np.argwhere((begun | ended).T).tolist():
            rule, is_over = RULES[row], bool(ended[row, position])
            bound = rule.clear_below if is_over else rule.raise_at
            left_s = levels.time_to_trip_s[position] if row == _TRIP and not is_over else np.inf
            events.append(
                PowerEvent(
                    node_id=topology.nodes[position].id,
                    rule=rule,
                    is_over=is_over,
                    at_unix_ns=at_unix_ns,
                    observed_mw=int(levels.observed_mw[row, position]),
                    limit_mw=int(bound * levels.limit_mw[row, position]),
                    time_to_trip_s=int(max(left_s, 1.0)) if np.isfinite(left_s) else 0,
                    advice=advice.get((row, position), ()),
                )
            )
        return events

    def _advice(
        self, begun: Array, levels: Levels, sight: Sight
    ) -> dict[tuple[int, int], tuple[CapAdvice, ...]]:
        """Return by (row, position) the caps that bring a node to where its event would end."""
        wanted = [
            (-rule.severity, position, row)
            for row, rule in enumerate(RULES)
            if rule.wants_caps
            for position in np.flatnonzero(begun[row]).tolist()
        ]
        if not wanted:
            return {}
        priorities = self._priorities()
        found = {}
        for _, position, row in heapq.nsmallest(MAX_ADVISED, wanted):
            target_mw = RULES[row].clear_below * levels.limit_mw[row, position]
            found[row, position] = cap_advice(
                self._topology,
                position,
                levels.observed_mw[row, position] - target_mw,
                sight.now_mw,
                sight.heard,
                priorities,
            )
        return found

    def _move_to(self, topology: Topology) -> list[tuple[int, str]]:
        """Take what is raised over by id; returns (row, id) of what was, at nodes that are gone."""
        raised = np.zeros((len(RULES), len(topology.nodes)), dtype=bool)
        gone = []
        for row, old in np.argwhere(self._raised).tolist():
            node_id = self._topology.nodes[old].id
            position = topology.index.get(node_id)
            if position is None:
                gone.append((row, node_id))
            else:
                raised[row, position] = True
        warm = self._meter.breakers.warmth()
        self._topology, self._raised = topology, raised
        self._meter = LevelMeter(topology)
        self._meter.breakers.rewarm(warm)
        return gone
