"""The peak that is served for every node: the forecast, and what stands in where it is cold.

- Where the forecast knows its cohort, its answer (aligned cohort conformal).
- Where it is cold, the largest of RC-like, N-sigma and the highest of the last ten minutes.
- Where nothing beneath a node is heard from, what stands in for it: nameplates.
- Above a host that was never heard from and has no nameplate, budgets count as used up:
  what nobody knows is not given away.
- Never below the power now. Of a chip, its rating: only its host has telemetry here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from chipwatt.collector.forecast.carry import State
from chipwatt.collector.forecast.contract import Calibration, NodeSpec, Prediction, Predictor
from chipwatt.collector.forecast.forecaster import Forecaster
from chipwatt.collector.forecast.sight import CLASSIC_RISK, Seen, Sight
from chipwatt.collector.placement.sums import Bin, NodesNow
from chipwatt.collector.placement.topology import Topology
from chipwatt.core.columns import MAX_POWER_MW
from chipwatt.core.tables import Array

_UNRATED_SCALE_MW = 1_000_000.0
"""Scores of hosts without a nameplate are shares of a kilowatt a host."""
_ROUNDING_MW = 1e-3
"""Shares are fractions: without the allowance 0.5 W + 0.5 W could round up past 1 W."""
_RECENT_RISK = 0.1
"""Within the next ten minutes the highest of the last ten is exceeded about so often."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What an answer is made of besides the forecast."""

    now: NodesNow
    alive: Array
    """Per node: a host beneath is heard from."""
    unknown: Array
    """Per node: a host beneath may draw anything."""


class Predictions:
    """A forecaster that several threads ask, over the nodes of one topology."""

    def __init__(self, topology: Topology, hung: Array) -> None:
        self.topology = topology
        self._hung = hung
        self._lock = threading.Lock()
        self._forecaster = Forecaster(specs(topology, hung))
        self._kinds = [int(node.kind) for node in topology.nodes]

    @property
    def second(self) -> int:
        """Return the newest bin taken; -1 before the first."""
        return self._forecaster.second

    @property
    def forecaster(self) -> Forecaster:
        """Return the forecaster, for who restores it before anybody asks."""
        return self._forecaster

    def anew(self, state: State | None = None) -> Predictions:
        """Return the same with a cold forecast, or one with this state. Raises ValueError."""
        other = Predictions(self.topology, self._hung)
        if state is not None:
            other.forecaster.restore(state)
        return other

    @property
    def horizons_s(self) -> tuple[int, ...]:
        return self._forecaster.config.horizons_s

    def take(self, bins: Iterable[Bin]) -> None:
        """Let the forecast learn from bins, in order."""
        for bin_ in bins:
            with self._lock:
                self._forecaster.step(
                    bin_.second,
                    bin_.mean_mw,
                    np.maximum(bin_.peak_mw, bin_.mean_mw),
                    bin_.rc_like_mw,
                    bin_.assumed_mw,
                    bin_.known,
                )

    def state(self) -> State:
        """Return everything learned, as a copy."""
        with self._lock:
            return self._forecaster.state()

    def sight(self, horizon_s: int) -> Sight:
        """Return what the forecast knows of a horizon now. Raises KeyError: it is not kept."""
        with self._lock:
            return self._forecaster.sight(horizon_s)

    def predict(self, situation: Situation, sight: Sight, quantile: float) -> Prediction:
        """Return the peak that each node stays below over a horizon with a probability.

        Raises ValueError for a quantile outside 0 to 1.
        """
        forecast = sight.predict(quantile)
        topology, now = self.topology, situation.now
        predictor = forecast.predictor.copy()
        peak = np.maximum(forecast.peak_mw, now.now_mw)
        cold = np.flatnonzero(predictor != Predictor.CONFORMAL)
        if len(cold):
            peak[predictor == Predictor.NAMEPLATE] = 0.0
            recent = now.highest_mw(cold)
            higher = recent >= peak[cold]
            peak[cold[higher]], predictor[cold[higher]] = recent[higher], Predictor.RECENT_MAX
        silent = ~situation.alive
        peak[silent], predictor[silent] = now.assumed_mw[silent], Predictor.NAMEPLATE
        peak[topology.chips] = topology.rated_mw[topology.chips]
        peak = np.ceil(peak - _ROUNDING_MW)
        above = situation.unknown
        peak[above] = np.maximum(peak[above], topology.budget_mw[above])
        return replace(forecast, peak_mw=peak, predictor=predictor)

    def exceed_probability(
        self, situation: Situation, sight: Sight, limit_mw: Array, served: Prediction
    ) -> Array:
        """Return per node the probability that its peak passes a limit within a horizon."""
        risk = sight.exceed_probability(limit_mw)
        risk[situation.now.now_mw > limit_mw] = 1.0
        claimed = {
            Predictor.RC_LIKE: CLASSIC_RISK,
            Predictor.N_SIGMA: CLASSIC_RISK,
            Predictor.RECENT_MAX: _RECENT_RISK,
            Predictor.NAMEPLATE: 0.0,
        }
        for predictor, otherwise in claimed.items():
            of_it = served.predictor == predictor
            over = served.peak_mw[of_it] > limit_mw[of_it]
            # Where it is 0 the node cannot draw as much.
            risk[of_it] = np.where(over, 1.0, np.where(risk[of_it] > 0, otherwise, 0.0))
        above = situation.unknown
        risk[above] = np.where(np.isfinite(limit_mw[above]), 1.0, 0.0)
        return risk

    def predict_on(
        self, situation: Situation, sight: Sight, quantile: float, seen: Seen
    ) -> Prediction:
        """Return ``Sight.predict_on``, with what nobody knows counted as used up."""
        forecast = sight.predict_on(seen, quantile)
        peak, above = forecast.peak_mw, situation.unknown
        peak[above] = np.maximum(peak[above], self.topology.budget_mw[above])
        return replace(forecast, peak_mw=np.ceil(peak - _ROUNDING_MW))

    def calibration(
        self, position: int, horizon_s: int, quantile: float, predictor: Predictor
    ) -> Calibration:
        """Return how a predictor has held over seven days for nodes of this one's kind."""
        with self._lock:
            return self._forecaster.calibration(
                self._kinds[position], horizon_s, quantile, predictor
            )

    def calibrations(self) -> list[Calibration]:
        """Return how every predictor has held, for each kind, horizon and scored quantile."""
        with self._lock:
            return list(self._forecaster.calibrations())

    def peak_second(self, position: int, horizon_s: int) -> int:
        """Return when in a horizon the time of day usually peaks, since 1970; 0: unknown."""
        with self._lock:
            return self._forecaster.peak_second(position, horizon_s)


def specs(topology: Topology, hung: Array) -> list[NodeSpec]:
    """Return the nodes as the forecast is told of them; ``hung``: hosts a node, by share.

    What a node can draw is the sum of the nameplates beneath it, whatever it is rated to
    carry: an oversubscribed node may be asked for more than that. Nodes without all
    nameplates are a cohort of their own, as their scores are shares of something else.
    """
    rated = topology.rated_mw[topology.hosts]
    columns = np.zeros((len(topology.nodes), 2))
    columns[topology.hosts, 0] = np.where(rated > 0, rated, MAX_POWER_MW)
    columns[topology.hosts, 1] = rated == 0
    topology.carry_up(columns)
    nodes = []
    for node, limit_mw, unrated, hosts, behind in zip(
        topology.nodes,
        *columns.T.tolist(),
        hung.tolist(),
        topology.shared_hosts().tolist(),
        strict=True,
    ):
        whole = limit_mw > 0 and not unrated
        scale_mw = limit_mw if whole else max(hosts, 1.0) * _UNRATED_SCALE_MW
        hw_class = node.hw_class if whole else f"{node.hw_class} without nameplate"
        nodes.append(NodeSpec(node.id, int(node.kind), hw_class, scale_mw, limit_mw, behind))
    return nodes
