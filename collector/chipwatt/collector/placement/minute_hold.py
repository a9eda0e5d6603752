"""What is shown of nodes with few hosts: minutes, held for a minute and in coarse steps.

All that goes in are the means of the last ten whole minutes, each in the nearest step:
of a host one of sixteen levels a minute, the energy of a workload's window (guarantee
G2), whatever the order of what it drew. Peaks are predicted from the highest of them
with the margins of the node's whole cohort; where the forecast is cold a nameplate
stands in. Results are rounded up to a step, and limits down: no room is promised that is
not there. Whatever is asked until the next minute, and however often, is about the
one moment in which it was made.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chipwatt.collector.forecast.contract import Prediction
from chipwatt.collector.forecast.sight import Seen
from chipwatt.collector.placement.outlook import DEFAULT_QUANTILE, Asked, Outlook
from chipwatt.collector.placement.topology import Topology
from chipwatt.collector.rings import RING_S
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.coarse import STEPS_AT_LIMIT, WINDOW_NS
from chipwatt.core.tables import Array

UNRATED_MW = 800_000
"""A host that nobody rated has the step of a chip, as for energy at egress."""
MINUTE_S = WINDOW_NS // NS_PER_S
_MINUTES = RING_S // MINUTE_S
_A_PART = 4_096
"""Nodes whose histories are read at once: 10 MiB."""


class MinuteHold:
    """One moment of a topology as it is shown; safe between threads.

    Arrays have a place a node; ``few`` says which nodes it is for.
    """

    def __init__(self, outlook: Outlook, few: Array) -> None:
        self.outlook = outlook
        self.few = few
        self._steps_mw, nameplate_mw = steps_and_nameplates_mw(outlook.topology)
        for horizon_s in outlook.horizons_s:
            # What the forecast knows of a horizon later is of another moment.
            outlook.prepare((horizon_s, DEFAULT_QUANTILE))
        self._minutes_mw = np.zeros((len(few), _MINUTES))
        for part in np.split(held := np.flatnonzero(few), range(_A_PART, len(held), _A_PART)):
            seconds = outlook.history(part).reshape(len(part), _MINUTES, MINUTE_S)
            means = seconds.mean(axis=2, dtype=np.float64)
            self._minutes_mw[part] = nearest_step(means, self._steps_mw[part, np.newaxis])
        self.mean_mw = np.rint(self._minutes_mw.mean(axis=1))
        self.peak_mw = self._minutes_mw.max(axis=1)
        """The highest minute."""
        self._seen = Seen(self.peak_mw, np.maximum(self.peak_mw, nameplate_mw))
        self._shown: dict[Asked, Prediction] = {}

    @property
    def minute(self) -> int:
        """Return the minute that it is for, since 1970."""
        return minute_of(self.outlook)

    @property
    def now_mw(self) -> Array:
        """Mean of the last minute."""
        return self._minutes_mw[:, -1]

    def history_mw(self, positions: Array) -> Array:
        """Return the last ten minutes of these nodes, a column a second, newest last."""
        return np.repeat(self._minutes_mw[positions], MINUTE_S, axis=1)

    def prediction(self, asked: Asked) -> Prediction:
        """Return what is shown of a prediction. Raises KeyError, ValueError as the outlook does."""
        shown = self._shown.get(asked)
        if shown is None:
            found = self.outlook.prediction_on(asked, self._seen)
            shown = self._shown.setdefault(asked, self.coarse(found))
        return shown

    def coarse(self, of: Prediction) -> Prediction:
        """Return a prediction in whole steps."""
        return replace(
            of,
            peak_mw=self.above(of.peak_mw),
            base_mw=self.above(of.base_mw),
            template_mw=self.above(of.template_mw),
            margin_mw=self.above(of.margin_mw),
            assumed_mw=self.above(of.assumed_mw),
        )

    def exceed_ppm(self, horizon_s: int, limit_mw: Array) -> Array:
        """Return per node the probability that its peak passes the step below a limit."""
        return self.outlook.exceed_ppm_on(horizon_s, self._seen, self.below(limit_mw))

    def above(self, power_mw: Array) -> Array:
        """Return the next step at or above."""
        return step_above(power_mw, self._steps_mw)

    def below(self, power_mw: Array) -> Array:
        """Return the next step at or below."""
        stepped: Array = np.floor(power_mw / self._steps_mw) * self._steps_mw
        return stepped


def nearest_step(power_mw: Array, steps_mw: Array) -> Array:
    """Return powers in whole steps."""
    stepped: Array = np.rint(power_mw / steps_mw) * steps_mw
    return stepped


def step_above(power_mw: Array, steps_mw: Array) -> Array:
    """Return the next steps at or above."""
    stepped: Array = np.ceil(power_mw / steps_mw) * steps_mw
    return stepped


def minute_of(outlook: Outlook) -> int:
    """Return the minute that an outlook was made in, since 1970."""
    return outlook.as_of_unix_ns // WINDOW_NS


def steps_and_nameplates_mw(topology: Topology) -> tuple[Array, Array]:
    """Return per node the step, a share of what a host beneath may draw; and what all may.

    Whole mW. A step is that of a workload's energy (``core.coarse``) for the mean nameplate.
    The nameplate is 0 where a host beneath has none.
    """
    columns = np.zeros((len(topology.nodes), 4))
    rated = topology.rated_mw[topology.hosts]
    columns[topology.hosts, 0] = np.where(rated > 0, rated, UNRATED_MW)
    columns[topology.hosts, 1:] = np.stack([np.ones_like(rated), rated, rated == 0], axis=1)
    topology.carry_up(columns)
    assumed_mw, hosts, rated_mw, unrated = columns.T
    mean = np.divide(assumed_mw, hosts, out=np.ones(len(hosts)), where=hosts > 0)
    return np.maximum(np.rint(mean / STEPS_AT_LIMIT), 1.0), np.where(unrated > 0, 0.0, rated_mw)
