"""How near every node is to every kind of event: one array, a row a kind, a column a node.

All of it is numpy over all nodes at once. A level that cannot be known now is not a
number, which neither raises nor clears anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chipwatt.collector.placement.breakers import Breakers
from chipwatt.collector.placement.power_event import ROW, RULES, PowerEventKind
from chipwatt.collector.placement.sole_supplies import sole_supplies
from chipwatt.collector.placement.topology import Topology
from chipwatt.core.tables import Array

RECENT_S = 11
"""Seconds that ramps and swings are read from: ten steps."""
TOGETHER_S = 60
"""Hosts whose last seconds lie no further apart fell silent at once."""
TRIP_SOON_S = 600
_LIMITS = (PowerEventKind.THRESHOLD_1, PowerEventKind.THRESHOLD_2, PowerEventKind.OVER_BUDGET)
_STAND_IN_S = 90
"""Within so long the history has the same stand-in for a host in all of its seconds."""
_OF_POWER = np.array([ROW[kind] for kind in (*_LIMITS, PowerEventKind.BREAKER_RISK)])
_OF_MOTION = np.array([ROW[PowerEventKind.RAMP], ROW[PowerEventKind.SWING_BAND]])


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known in one second."""

    second: int
    """Since 1970."""
    now_mw: Array
    """Per node."""
    recent_mw: Array
    """Per node with a budget (``LevelMeter.budgeted``): the last seconds, newest last."""
    newest_s: Array
    """Per host: its newest second; 0: never heard."""
    heard: Array
    """Per host: whether it is heard from now."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Rows as in ``RULES``, columns as the topology's nodes."""

    level: Array
    observed_mw: Array
    limit_mw: Array
    """What a level of 1 stands for; 0 where it is not power."""
    time_to_trip_s: Array
    """Per node; infinite where no trip is to be expected or nobody can say."""


class LevelMeter:
    """Measures one topology. Not safe between threads: it keeps the breakers' heat."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self.budgeted = np.flatnonzero(topology.budget_mw > 0)
        """Positions of nodes with a budget."""
        self.breakers = Breakers(topology)
        self._supplies, self._supplied = sole_supplies(topology)
        self._missing = np.zeros(len(topology.nodes), dtype=np.int64)
        self._calm_from_s = np.zeros(len(topology.nodes), dtype=np.int64)

    def measure(self, sight: Sight, elapsed_s: float) -> Levels:
        """Return every level, ``elapsed_s`` seconds after the last call."""
        shape = (len(RULES), len(self._topology.nodes))
        found = Levels(np.zeros(shape), np.zeros(shape), np.zeros(shape), np.full(shape[1], np.inf))
        found.observed_mw[:] = sight.now_mw
        at = self.budgeted
        budget_mw = self._topology.budget_mw[at]
        for kind in _LIMITS:
            _fill(found, kind, at, sight.now_mw[at], budget_mw)
        _fill(found, PowerEventKind.RAMP, at, _ramp_mw(sight.recent_mw), budget_mw)
        _fill(found, PowerEventKind.SWING_BAND, at, _swing_mw(sight.recent_mw), budget_mw)
        self._breakers(found, sight, elapsed_s)
        # What a silent host draws nobody sees; above it, what it may draw is counted.
        found.level[_OF_POWER[:, np.newaxis], self._topology.hosts[~sight.heard]] = np.nan
        self._silence(found, sight)
        return found

    def _breakers(self, found: Levels, sight: Sight, elapsed_s: float) -> None:
        at, row = self.breakers.positions, ROW[PowerEventKind.BREAKER_RISK]
        left_s = self.breakers.step(sight.now_mw[at], elapsed_s)
        _fill(found, PowerEventKind.BREAKER_RISK, at, sight.now_mw[at], self.breakers.continuous_mw)
        found.time_to_trip_s[at] = np.where(np.isnan(left_s), np.inf, left_s)
        # Overloaded, but for so long that it is none of this kind's business yet; and no end.
        late = left_s > TRIP_SOON_S
        found.level[row, at[late]] = np.minimum(found.level[row, at[late]], RULES[row].clear_below)

    def _silence(self, found: Levels, sight: Sight) -> None:
        nodes = found.level.shape[1]
        known = sight.newest_s > 0
        above, beneath = self._topology.above, self._topology.beneath
        ever = np.bincount(above[known[beneath]], minlength=nodes)
        silent = np.bincount(above[(known & ~sight.heard)[beneath]], minlength=nodes)
        lost = np.divide(silent, ever, out=np.zeros(nodes), where=ever > 0)
        found.level[ROW[PowerEventKind.TELEMETRY_LOST]] = lost
        # What stands in for a host that falls silent is a step, though nothing has moved.
        missing = np.bincount(above[~sight.heard[beneath]], minlength=nodes)
        self._calm_from_s[missing != self._missing] = sight.second + _STAND_IN_S
        self._missing = missing
        found.level[_OF_MOTION[:, np.newaxis], self._calm_from_s > sight.second] = np.nan
        row = ROW[PowerEventKind.FEED_LOSS]
        if not sight.heard.any():
            found.level[row] = np.nan  # more is lost than a feed, or it is our network
            return
        last_s = np.zeros(nodes, dtype=np.int64)
        np.maximum.at(last_s, self._supplies, sight.newest_s[self._supplied])
        at_once = known & ~sight.heard
        at_once = at_once[self._supplied] & (
            sight.newest_s[self._supplied] >= last_s[self._supplies] - TOGETHER_S
        )
        fell = np.bincount(self._supplies[at_once], minlength=nodes)
        alive = np.bincount(self._supplies[sight.heard[self._supplied]], minlength=nodes)
        found.level[row] = (fell >= 2) & (alive == 0)


def _fill(found: Levels, kind: PowerEventKind, at: Array, observed: Array, limit: Array) -> None:
    found.level[ROW[kind], at] = observed / limit
    found.observed_mw[ROW[kind], at] = observed
    found.limit_mw[ROW[kind], at] = limit


def _ramp_mw(recent_mw: Array) -> Array:
    """Return the change in ten seconds or twice that of the last one, whichever is larger."""
    newest = recent_mw[:, -1]
    ramp: Array = np.maximum(
        np.abs(newest - recent_mw[:, 0]), 2.0 * np.abs(newest - recent_mw[:, -2])
    )
    return ramp


def _swing_mw(recent_mw: Array) -> Array:
    """Return the band that power moved in within ten seconds, less where it has come to."""
    band = recent_mw.max(axis=1) - recent_mw.min(axis=1)
    swing: Array = band - np.abs(recent_mw[:, -1] - recent_mw[:, 0])
    return swing
