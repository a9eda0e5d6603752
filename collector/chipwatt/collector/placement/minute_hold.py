"""What schedulers are shown of power: whole minutes, held for a minute and in coarse steps.

All that goes in are the means of the last eight whole minutes of every node, each in the
nearest step: of a host one of sixteen levels a minute, as the energy of a workload's
window (guarantee G2), whatever the order of what it drew. Peaks are predicted from them
with the margins of the node's whole cohort; while the forecast is cold, nameplates stand
in, or of hosts without one their highest in-bin peaks. Peaks are rounded up, limits down.

Minutes are those of the wall clock, and taken when their last second is final: a hold
made twice, or late, or of another topology, has the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from chipwatt.collector.forecast.contract import Calibration, ForecastConfig, Prediction, Predictor
from chipwatt.collector.forecast.sight import Seen
from chipwatt.collector.placement.outlook import DEFAULT_QUANTILE, MOST_SERVED, Asked, Outlook
from chipwatt.collector.placement.topology import Topology
from chipwatt.collector.rings import RING_S
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.coarse import STEPS_AT_LIMIT, WINDOW_NS
from chipwatt.core.tables import Array

UNRATED_MW = 800_000
"""A host that nobody rated has the step of a chip, as for energy at egress."""
MINUTES: Final = 8
"""As many as are surely whole within ten, at whatever second of a minute and its lag."""
MINUTE_S: Final = WINDOW_NS // NS_PER_S
LAG_S: Final = ForecastConfig().lag_s
_SPAN_S = MINUTES * MINUTE_S
_ROUNDING = 1e-6
"""Of a step: fractions must not be one step off."""
_A_PART = 4_096
"""Nodes whose histories are read at once: 10 MiB."""
_MINUTE_OF_SECOND = np.maximum(np.arange(RING_S) - (RING_S - _SPAN_S), 0) // MINUTE_S
"""Which minute stands for each of ten minutes' seconds: for those before the first, the first."""


class MinuteHold:
    """One minute of a topology as it is shown, made from an outlook in it; thread-safe.

    Arrays have a place a node.
    """

    def __init__(self, outlook: Outlook) -> None:
        self.outlook = outlook
        topology = outlook.topology
        self._steps_mw, self._nameplate_mw = steps_and_nameplates_mw(topology)
        for horizon_s in outlook.horizons_s:
            # What the forecast knows of a horizon later is of another moment.
            outlook.prepare((horizon_s, DEFAULT_QUANTILE))
        nodes = len(topology.nodes)
        end_s = self.minute * MINUTE_S
        first = RING_S - 1 - (outlook.as_of_unix_ns // NS_PER_S - end_s) - _SPAN_S
        self._minutes_mw = np.zeros((nodes, MINUTES))
        for part in np.split(np.arange(nodes), range(_A_PART, nodes, _A_PART)):
            seconds = outlook.history(part)[:, first : first + _SPAN_S]
            means = seconds.reshape(len(part), MINUTES, MINUTE_S).mean(axis=2, dtype=np.float64)
            self._minutes_mw[part] = nearest_step(means, self._steps_mw[part, np.newaxis])
        self.mean_mw = np.rint(self._minutes_mw.mean(axis=1))
        self.peak_mw = self._minutes_mw.max(axis=1)
        """The highest minute."""
        base_mw = base_of(self._minutes_mw)
        cold = np.zeros((nodes, 1))
        hosts, rated_mw = topology.hosts, topology.rated_mw[topology.hosts]
        highest_mw = outlook.highest_mw(hosts, end_s - _SPAN_S, end_s)
        highest_mw = step_above(highest_mw, self._steps_mw[hosts])
        cold[hosts, 0] = np.where(rated_mw > 0, rated_mw, highest_mw)
        topology.carry_up(cold)
        whole = self._nameplate_mw > 0
        rule = np.where(whole, int(Predictor.NAMEPLATE), int(Predictor.RECENT_MAX))
        self._seen = Seen(base_mw, np.maximum(base_mw, cold[:, 0]), rule)
        self._shown: dict[Asked, Prediction] = {}
        self._held: dict[tuple[int, int, float, Predictor], Calibration] = {}

    @property
    def minute(self) -> int:
        """Return the minute that ended last, since 1970, plus one: where the next one begins."""
        return minute_of(self.outlook)

    @property
    def now_mw(self) -> Array:
        """Mean of the last minute."""
        return self._minutes_mw[:, -1]

    def history_mw(self, positions: Array) -> Array:
        """Return the minutes of these nodes as ten minutes, a column a second, newest last."""
        return self._minutes_mw[positions][:, _MINUTE_OF_SECOND]

    def prediction(self, asked: Asked) -> Prediction:
        """Return what is shown of a prediction. Raises KeyError, ValueError as the outlook does."""
        shown = self._shown.get(asked)
        if shown is None:
            shown = self._coarse(self.outlook.prediction_on(asked, self._seen))
            if len(self._shown) < MOST_SERVED:
                shown = self._shown.setdefault(asked, shown)
        return shown

    def exceed_ppm(self, horizon_s: int, limit_mw: Array) -> Array:
        """Return per node the probability that its peak passes the step below a limit."""
        below = np.floor(limit_mw / self._steps_mw + _ROUNDING) * self._steps_mw
        # What just covers the nameplate does, though steps may not end there.
        whole = np.isclose(limit_mw, self._nameplate_mw, rtol=0.0, atol=1.0)
        below = np.where(whole, limit_mw, below)
        return self.outlook.exceed_ppm_on(horizon_s, self._seen, below)

    def calibration(
        self, position: int, horizon_s: int, quantile: float, predictor: Predictor
    ) -> Calibration:
        """Return how a predictor had held when this was first asked for."""
        kind = int(self.outlook.topology.nodes[position].kind)
        key = (kind, horizon_s, quantile, predictor)
        held = self._held.get(key)
        if held is None:
            held = self.outlook.calibration(position, horizon_s, quantile, predictor)
            if len(self._held) < MOST_SERVED:
                held = self._held.setdefault(key, held)
        return held

    def fallen_silent_mw(self, newest: Outlook) -> Array:
        """Return what counts more, per node, for hosts that have fallen silent since."""
        hosts = newest.topology.hosts
        more = np.zeros((len(self._steps_mw), 1))
        lost = self.outlook.fresh & ~newest.fresh
        if lost.any():
            stand_in = step_above(newest.stand_ins_mw(), self._steps_mw[hosts])
            counted = self._seen.base_mw[hosts]
            more[hosts, 0] = np.where(lost, np.maximum(stand_in - counted, 0.0), 0.0)
            newest.topology.carry_up(more)
        return more[:, 0]

    def _coarse(self, of: Prediction) -> Prediction:
        peak_mw, limit_mw = step_above(of.peak_mw, self._steps_mw), self._nameplate_mw
        # A step beyond what a node can draw would only say that its steps do not end there.
        covered = (of.peak_mw <= limit_mw) & (peak_mw > limit_mw)
        assumed_mw = step_above(of.assumed_mw, self._steps_mw)
        return replace(
            of,
            peak_mw=np.where(covered, limit_mw, peak_mw),
            base_mw=np.maximum(step_above(of.base_mw, self._steps_mw) - assumed_mw, 0.0),
            assumed_mw=assumed_mw,
            margin_mw=step_above(of.margin_mw, self._steps_mw),
        )


def minute_of(outlook: Outlook) -> int:
    """Return the first minute, since 1970, that is not final at the time of an outlook."""
    return (outlook.as_of_unix_ns // NS_PER_S - LAG_S + 1) // MINUTE_S


def base_of(minutes_mw: Array) -> Array:
    """Return what margins are added to: the last minute, or the mean if that is higher.

    Against recorded series the mean alone misses starts, and the highest costs up to a
    tenth more (``python -m tests.bench.placement e1``).
    """
    base: Array = np.maximum(minutes_mw.mean(axis=1), minutes_mw[:, -1])
    return base


def nearest_step(power_mw: Array, steps_mw: Array) -> Array:
    """Return powers in whole steps; mW."""
    stepped: Array = np.rint(np.rint(power_mw / steps_mw) * steps_mw)
    return stepped


def step_above(power_mw: Array, steps_mw: Array) -> Array:
    """Return the next steps at or above; mW."""
    stepped: Array = np.rint(np.ceil(power_mw / steps_mw - _ROUNDING) * steps_mw)
    return stepped


def steps_and_nameplates_mw(topology: Topology) -> tuple[Array, Array]:
    """Return per node the step, a share of what a host beneath may draw; and what all may.

    A step is that of a workload's energy (``core.coarse``) for the mean nameplate, so that it
    ends where nameplates do. The nameplate is 0 where a host beneath has none.
    """
    columns = np.zeros((len(topology.nodes), 4))
    rated = topology.rated_mw[topology.hosts]
    columns[topology.hosts, 0] = np.where(rated > 0, rated, UNRATED_MW)
    columns[topology.hosts, 1:] = np.stack([np.ones_like(rated), rated, rated == 0], axis=1)
    topology.carry_up(columns)
    assumed_mw, hosts, rated_mw, unrated = columns.T
    mean = np.divide(assumed_mw, hosts, out=np.ones(len(hosts)), where=hosts > 0)
    return np.maximum(mean / STEPS_AT_LIMIT, 1.0), np.where(unrated > 0, 0.0, rated_mw)
