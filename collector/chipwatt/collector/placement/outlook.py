"""Everything that an answer needs, as of one moment: loads, budgets, reservations, predictions."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from functools import cached_property

import numpy as np

from chipwatt.collector.forecast.contract import Calibration, Prediction, Predictor, Weakness
from chipwatt.collector.forecast.sight import Seen, Sight
from chipwatt.collector.placement.predictions import Predictions, Situation
from chipwatt.collector.placement.sums import NodesNow
from chipwatt.collector.placement.topology import WHOLE_PPM, Topology
from chipwatt.collector.placement.trust import Columns, Quality, Trust, coverage_ppm, weigh
from chipwatt.core.tables import Array

DEFAULT_HORIZON_S = 600
DEFAULT_QUANTILE = 0.99
MOST_SERVED = 64
"""Answers of one moment that are kept; of a large fleet each takes megabytes."""
Asked = tuple[int, float]
"""A horizon in seconds and a quantile."""


class Outlook:
    """One moment of a topology; every array has a place a node, in the topology's order.

    It does not change. What the forecast knows of a horizon is taken when somebody first
    asks for one: every quantile and every limit then has the answer of that moment, for as
    long as the outlook is kept. A horizon that nobody asked for before the forecast went on
    is not held. Histories are those of the seconds before it, with what has come late since.
    Safe between threads: two that ask at once compute the same.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - what it is
        as_of_unix_ns: int,
        now: NodesNow,
        reserved_mw: Array,
        predictions: Predictions,
    ) -> None:
        topology = predictions.topology
        self._id = id
        self.is_named = False
        """Whether anybody knows its id, and may come back with it."""
        self.touched: set[Asked] = set()
        """Horizons and quantiles that somebody asked for."""
        self.as_of_unix_ns = as_of_unix_ns
        self.topology: Topology = topology
        self.now_mw: Array = np.rint(now.now_mw)
        self.allowed_mw: Array = topology.allowed_mw
        """Budget less margin; infinite where there is no budget."""
        self.reserved_mw = reserved_mw
        """Held and committed, not yet absorbed; carried up by share."""
        self._now = now
        self._predictions = predictions
        self._second = predictions.second
        self._sights: dict[int, Sight] = {}
        self._served: dict[Asked, Prediction] = {}

    @cached_property
    def mean_mw(self) -> Array:
        """Mean of the last ten minutes."""
        return np.rint(self._now.mean_mw())

    @cached_property
    def peak_1s_mw(self) -> Array:
        """Highest second of the last ten minutes."""
        return np.rint(self._now.peak_1s_mw())

    @cached_property
    def newest_s(self) -> Array:
        """Of hosts, the newest second with telemetry, since 1970; 0: never, or no host."""
        newest = np.zeros(len(self.topology.nodes), dtype=np.int64)
        newest[self.topology.hosts] = self._now.hosts.newest_s
        return newest

    @cached_property
    def host_known(self) -> Array:
        """Whether the node is a host of which any telemetry is known."""
        known: Array = self.newest_s > 0
        return known

    @property
    def moment(self) -> tuple[str, int, NodesNow, Array, Predictions]:
        """Return what another outlook of this moment is made of."""
        return self._id, self.as_of_unix_ns, self._now, self.reserved_mw, self._predictions

    @property
    def columns(self) -> Columns:
        """Return what is known per node of the hosts beneath it, but for their power."""
        return self._by_node

    def stand_ins_mw(self) -> Array:
        """Return what each host counts with while nothing is heard of it."""
        return self._now.hosts.assumed_mw

    def highest_mw(self, positions: Array, first_s: int, end_s: int) -> Array:
        """Return the highest in-bin peaks of these nodes from one second up to another."""
        return self._now.history.highest_peak_mw(positions, first_s, end_s)

    @property
    def horizons_s(self) -> tuple[int, ...]:
        """The horizons that are predicted."""
        return self._predictions.horizons_s

    @property
    def id(self) -> str:
        """Return what the moment can be found by for a minute at most."""
        self.is_named = True
        return self._id

    def holds(self, horizon_s: int) -> bool:
        """Return whether a horizon can be answered for as it was at this moment."""
        return horizon_s in self._sights or self._predictions.second == self._second

    def prepare(self, asked: Asked) -> Prediction:
        """Compute what is likely to be asked for."""
        served = self._served.get(asked)
        if served is None:
            horizon_s, quantile = asked
            sight = self._sight(horizon_s)
            served = self._predictions.predict(self._situation, sight, quantile)
            if len(self._served) < MOST_SERVED:
                served = self._served.setdefault(asked, served)
        return served

    def prediction(self, horizon_s: int, quantile: float) -> Prediction:
        """Return the prediction of every node. Raises KeyError, ValueError as the forecast does."""
        asked = (horizon_s, quantile)
        self.touched.add(asked)
        return self.prepare(asked)

    def peak_mw(self, horizon_s: int, quantile: float) -> Array:
        """Return the predicted peak of every node, whole mW."""
        return self.prediction(horizon_s, quantile).peak_mw

    def free_mw(self, horizon_s: int, quantile: float, *, reserved: bool = True) -> Array:
        """Return what each node itself has left; infinite without a budget."""
        return self._free_above(self.peak_mw(horizon_s, quantile), reserved=reserved)

    def room(
        self, horizon_s: int, quantile: float, *, reserved: bool = True
    ) -> tuple[Array, Array]:
        """Return the least left over each node and every ancestor on every feed, and whose it is.

        The position is -1 where no budget stands on the way up.
        """
        return self.room_above(self.peak_mw(horizon_s, quantile), reserved=reserved)

    def room_above(self, peak_mw: Array, *, reserved: bool = True) -> tuple[Array, Array]:
        """Return ``room`` above a peak per node."""
        free = self._free_above(peak_mw, reserved=reserved)
        least, whose = self.topology.least_on_the_way_up(free)
        return least, np.where(np.isinf(least), -1, whose)

    def prediction_on(self, asked: Asked, seen: Seen) -> Prediction:
        """Return peaks of which nodes say no more than is given: see ``Sight.predict_on``."""
        sight = self._sight(asked[0])
        return self._predictions.predict_on(self._situation, sight, asked[1], seen)

    def exceed_ppm(self, horizon_s: int, quantile_limit_mw: Array) -> Array:
        """Return per node the probability that its peak passes a limit within a horizon."""
        served = self.prediction(horizon_s, DEFAULT_QUANTILE)
        risk = self._predictions.exceed_probability(
            self._situation, self._sight(horizon_s), quantile_limit_mw, served
        )
        ppm: Array = np.rint(risk * WHOLE_PPM).astype(np.int64)
        return ppm

    def history(self, positions: Array) -> Array:
        """Return means of the last 600 seconds of these nodes, aligned, newest last; mW."""
        return self._now.history_mw(np.asarray(positions, dtype=np.int64))

    def settled_mw(self, positions: Array, seconds: int) -> Array:
        """Return means of the last ``seconds`` final seconds of these nodes, newest last; mW."""
        final_s = self._now.final_s
        return self._now.history.means(positions, final_s - seconds, final_s)

    @property
    def fresh(self) -> Array:
        """Per host, as in ``topology.hosts``: heard from within the last 30 s."""
        return self._now.hosts.fresh

    def peak_second(self, position: int, horizon_s: int) -> int:
        """Return when in a horizon the time of day usually peaks, since 1970; 0: unknown."""
        return self._predictions.peak_second(position, horizon_s)

    def calibration(
        self, position: int, horizon_s: int, quantile: float, predictor: Predictor
    ) -> Calibration:
        """Return how a predictor has held for nodes of this one's kind."""
        return self._predictions.calibration(position, horizon_s, quantile, predictor)

    def trust(
        self,
        position: int,
        horizon_s: int = DEFAULT_HORIZON_S,
        quantile: float = DEFAULT_QUANTILE,
    ) -> Trust:
        """Return how far the answer for a node can be trusted."""
        plain = self.trust_beneath(position)
        served = self.prediction(horizon_s, quantile)
        predictor = Predictor(int(served.predictor[position]))
        held = self.calibration(position, horizon_s, quantile, predictor)
        quality = set(plain.quality)
        if served.weakness[position] & Weakness.COLD_START and self.columns.total[position]:
            quality.add(Quality.COLD_START)
        return replace(
            plain,
            quality=tuple(sorted(quality)),
            predictor=predictor,
            coverage_7d_ppm=coverage_ppm(held),
            scores=int(served.scores[position]) if predictor.has_scores else 0,
        )

    def trust_of_all(self) -> Trust:
        """Return how current the telemetry of all hosts is."""
        hosts = len(self.topology.hosts)
        pairs = (np.zeros(hosts, dtype=np.int64), np.arange(hosts))
        return weigh(*pairs, 1, self._now.hosts, self.as_of_unix_ns).trust(0, self.as_of_unix_ns)

    def with_reserved(self, id: str, reserved_mw: Array) -> Outlook:  # noqa: A002
        """Return the same moment beside other reservations; all else is shared."""
        _ = self._situation  # computed once for both
        other = copy(self)
        other._id = id  # noqa: SLF001 - its own class
        other.is_named, other.reserved_mw = False, reserved_mw
        return other

    def shares(self, other: Outlook) -> bool:
        """Return whether both are of one moment."""
        return self._sights is other._sights

    def trust_beneath(self, position: int) -> Trust:
        """Return how current the telemetry beneath a node is."""
        return self._by_node.trust(position, self.as_of_unix_ns)

    def _sight(self, horizon_s: int) -> Sight:
        sight = self._sights.get(horizon_s)
        if sight is None:
            sight = self._sights.setdefault(horizon_s, self._predictions.sight(horizon_s))
        return sight

    def _free_above(self, peak_mw: Array, *, reserved: bool) -> Array:
        free: Array = self.allowed_mw - peak_mw
        return np.floor(free - self.reserved_mw) if reserved else free

    @cached_property
    def _by_node(self) -> Columns:
        topology = self.topology
        pairs = (topology.above, topology.beneath)
        return weigh(*pairs, len(topology.nodes), self._now.hosts, self.as_of_unix_ns)

    @cached_property
    def _situation(self) -> Situation:
        topology, hosts = self.topology, self._now.hosts
        unknown = np.zeros(len(topology.nodes), dtype=bool)
        unknown[topology.above[hosts.unknown[topology.beneath]]] = True
        return Situation(
            now=self._now,
            alive=self._by_node.alive > 0,
            unknown=unknown,
        )
