"""What is shown of nodes with few hosts: minutes, held for a minute and in coarse steps.

Everything here comes from one outlook, the first of a minute, so that whatever is asked
until the next, and however often, is about one moment. Of each node three things go in
(``MinuteHold``), and none depends on the order of what a host drew within a minute. Peaks
are predicted from them with the margins of the node's whole cohort, rounded up to a
step, and limits are rounded down: no room is promised that is not there.

A step is the step of a workload's energy (``core.coarse``) for what one host may draw.
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
_MINUTE_S = WINDOW_NS // NS_PER_S
_A_PART = 4_096
"""Nodes whose histories are read at once: 10 MiB."""


class MinuteHold:
    """One moment of a topology as it is shown; safe between threads.

    Arrays have a place a node; ``few`` says which nodes it is for. In go the means of the
    last ten minutes, in the nearest step; of each host the highest peak in them, in
    the step above; and of nodes above hosts the sum of those.
    """

    def __init__(self, outlook: Outlook, few: Array) -> None:
        self.outlook = outlook
        self.few = few
        topology = outlook.topology
        self._steps_mw = steps_mw(topology)
        for horizon_s in outlook.horizons_s:
            # What the forecast knows of a horizon later is of another moment.
            outlook.prepare((horizon_s, DEFAULT_QUANTILE))
        self._minutes_mw = np.zeros((len(few), RING_S // _MINUTE_S))
        for part in np.split(held := np.flatnonzero(few), range(_A_PART, len(held), _A_PART)):
            minutes = outlook.history(part).reshape(len(part), RING_S // _MINUTE_S, _MINUTE_S)
            steps = self._steps_mw[part, np.newaxis]
            nearest = np.rint(minutes.mean(axis=2, dtype=np.float64) / steps) * steps
            self._minutes_mw[part] = nearest
        self.mean_mw = np.rint(self._minutes_mw.mean(axis=1))
        base_mw = self._minutes_mw.max(axis=1)
        hosts = topology.hosts
        highest = np.zeros((len(few), 1))
        highest[hosts, 0] = outlook.highest_mw(hosts)
        highest[:, 0] = self.above(highest[:, 0])
        # Several hosts need not peak at once: their sum bounds it, but is not the least there is.
        least_mw = np.maximum(base_mw, highest[:, 0])
        topology.carry_up(highest)
        self.peak_1s_mw = np.maximum(self.above(highest[:, 0]), base_mw)
        self._seen = Seen(base_mw, least_mw, self.peak_1s_mw)
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
        return np.repeat(self._minutes_mw[positions], _MINUTE_S, axis=1)

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
        stepped: Array = np.ceil(power_mw / self._steps_mw) * self._steps_mw
        return stepped

    def below(self, power_mw: Array) -> Array:
        """Return the next step at or below."""
        stepped: Array = np.floor(power_mw / self._steps_mw) * self._steps_mw
        return stepped


def minute_of(outlook: Outlook) -> int:
    """Return the minute that an outlook was made in, since 1970."""
    return outlook.as_of_unix_ns // WINDOW_NS


def steps_mw(topology: Topology) -> Array:
    """Return per node the step for a host beneath it, of their mean nameplate; whole mW."""
    columns = np.zeros((len(topology.nodes), 2))
    rated = topology.rated_mw[topology.hosts]
    columns[topology.hosts, 0] = np.where(rated > 0, rated, UNRATED_MW)
    columns[topology.hosts, 1] = 1.0
    topology.carry_up(columns)
    nameplate_mw, hosts = columns.T
    mean = np.divide(nameplate_mw, hosts, out=np.ones(len(hosts)), where=hosts > 0)
    step: Array = np.maximum(np.rint(mean / STEPS_AT_LIMIT), 1.0)
    return step
