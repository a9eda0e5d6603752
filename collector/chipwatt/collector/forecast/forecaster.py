"""Predicts the peak of every power node: aligned cohort conformal, with classic rules beside it.

Once a second it takes the synchronous sum of every node; whenever it is asked it
says what the sum stays below over a horizon with a probability:

- base: a slow level, and of the swing about it the part that the cohort's peaks keep;
  after three days the rise too that this time of day usually brings (horizons of an
  hour or more);
- margin: the order statistic of what windows of the node's cohort (kind, hardware
  class, horizon, volatility) exceeded their base by, read at a level that follows
  the node's own misses;
- never below the power now, never above what the node or its peers can draw.

What stands in for missing telemetry is added as it is. Values in, values out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from chipwatt.collector.forecast.calibration import Book
from chipwatt.collector.forecast.carry import State, prefixed, sources, under
from chipwatt.collector.forecast.classic import classic_mw
from chipwatt.collector.forecast.cohorts import Cohorts
from chipwatt.collector.forecast.contract import (
    MODEL_VERSION,
    Calibration,
    ForecastConfig,
    NodeSpec,
    Prediction,
    Predictor,
)
from chipwatt.collector.forecast.horizon import Horizon, Parts, fast_s, slow_s
from chipwatt.collector.forecast.levels import SETTLE_S, Levels
from chipwatt.collector.forecast.nodes import EVERY, Nodes, Which
from chipwatt.collector.forecast.reading import Basis
from chipwatt.collector.forecast.recent import Recent
from chipwatt.collector.forecast.scores import Scores
from chipwatt.collector.forecast.sight import Sight
from chipwatt.collector.forecast.template import Template
from chipwatt.core.tables import Array

_GAP_S = 5
"""Bins that may be missing in a row before every open window is given up."""
_ANY_S = 60
"""Bins from which on the last ten minutes say anything."""
_TEMPLATE_FROM_S = 3_600


class Forecaster:
    """State and answers over a fixed list of nodes. Not safe between threads."""

    def __init__(self, nodes: Sequence[NodeSpec], config: ForecastConfig | None = None) -> None:
        self.config = config = config or ForecastConfig()
        if len({node.id for node in nodes}) != len(nodes):
            raise ValueError("two power nodes of a forecast have the same id")
        cohorts = Cohorts(nodes, len(config.horizons_s))
        state = Nodes(nodes, cohorts.of, len(cohorts.keys))
        half_lives = sorted({f(h) for h in config.horizons_s for f in (fast_s, slow_s)})
        long = tuple(h for h in config.horizons_s if h >= _TEMPLATE_FROM_S)
        self._parts = Parts(
            nodes=state,
            levels=Levels(half_lives, len(nodes)),
            recent=Recent(len(nodes)),
            template=Template(long, state.scale_mw) if long else None,
            cohorts=cohorts,
            scores=Scores(cohorts.rings, config.origins),
            by_minute=Scores(cohorts.minute_rings, config.origins),
            book=Book(config.horizons_s),
        )
        self._horizons = {
            h: Horizon(number, config, self._parts, half_lives)
            for number, h in enumerate(config.horizons_s)
        }
        self._template_row = half_lives.index(slow_s(long[0])) if long else 0
        self.second = -1
        """The newest bin, since 1970; -1 before the first."""

    @property
    def ids(self) -> list[str]:
        """Return the nodes' ids, in the order of every array."""
        return self._parts.nodes.ids

    def step(
        self,
        second: int,
        mean_mw: Array,
        peak_mw: Array,
        rc_like_mw: Array | None = None,
        assumed_mw: Array | None = None,
        known: Array | None = None,
    ) -> None:
        """Take the bin of one second, later than all before it.

        ``mean_mw`` and ``peak_mw`` are of the synchronous sum, what stands in for stale
        children (``assumed_mw``) included; the highest ``peak_mw`` is what is predicted.
        ``rc_like_mw`` may be left out where it has not changed. ``known`` is the share of
        children heard from, or whether all were. Raises ValueError for a bin out of order,
        a wrong shape, or a power that is not finite.
        """
        if second <= self.second:
            raise ValueError(f"bin {second} does not come after bin {self.second}")
        parts = self._parts
        bin_ = parts.nodes.take(second, mean_mw, peak_mw, rc_like_mw, assumed_mw, known)
        gap = self.second >= 0 and second - self.second > _GAP_S
        broken = None if bin_.whole.all() else ~bin_.whole
        parts.book.turn(second)
        for horizon in self._horizons.values():
            if gap:
                horizon.pending.break_all()
            horizon.pending.observe(bin_.peak_mw, broken)
            horizon.close(second)
        parts.levels.observe(bin_.mean_mw, bin_.seen, bin_.restart)
        parts.recent.observe(second, bin_.mean_mw, bin_.peak_mw, bin_.seen)
        if parts.template is not None:
            if gap:
                parts.template.lose()
            parts.template.observe(
                second, parts.levels.level_mw[self._template_row], bin_.peak_mw, bin_.whole
            )
        for horizon in self._horizons.values():
            if horizon.due(second, self.second):
                horizon.open(second)
        self.second = second

    def sight(self, horizon_s: int, which: Array | None = None) -> Sight:
        """Return what a horizon's answers are made of, as it is now; it stays so.

        ``which`` are places of nodes; None: all. Raises KeyError for a horizon that is not
        kept.
        """
        nodes, chosen = self._parts.nodes, EVERY if which is None else which
        reading = self._horizons[horizon_s].reading(chosen)
        predictor, classic = self._fall_back(reading.basis, chosen)
        # Arrays of the newest bin are replaced by the next one, not written to.
        return Sight(
            reading=reading,
            predictor=predictor,
            classic_mw=classic,
            mean_mw=nodes.mean_mw[chosen],
            assumed_mw=nodes.assumed_mw[chosen],
            nameplate_mw=nodes.nameplate_mw[chosen],
            cap_mw=nodes.cap_mw(chosen),
            whole=nodes.whole[chosen],
            settled=self._parts.levels.age_s[chosen] >= SETTLE_S,
        )

    def predict(self, horizon_s: int, quantile: float, which: Array | None = None) -> Prediction:
        """Return the peak that each node stays below over a horizon with a probability.

        ``which`` are places of nodes; None: all. Raises KeyError for a horizon that is not
        kept, ValueError for a quantile outside 0 to 1.
        """
        return self.sight(horizon_s, which).predict(quantile)

    def _fall_back(self, basis: Basis, which: Which) -> tuple[Array, Array]:
        """Return which predictor answers for each node, and what the better classic one says."""
        parts, nodes = self._parts, self._parts.nodes
        n_sigma = classic_mw(Predictor.N_SIGMA, nodes, parts.recent, which)
        rc_like = classic_mw(Predictor.RC_LIKE, nodes, parts.recent, which)
        rc_like = np.nan_to_num(rc_like, nan=0.0)
        predictor = np.where(rc_like > n_sigma, int(Predictor.RC_LIKE), int(Predictor.N_SIGMA))
        predictor[basis.ready] = Predictor.CONFORMAL
        unseen = ~nodes.seen[which] | (parts.levels.age_s[which] < _ANY_S)
        predictor[unseen] = Predictor.NAMEPLATE
        return predictor, np.maximum(rc_like, n_sigma)

    def classic(self, predictor: Predictor, which: Array | None = None) -> Array:
        """Return what one of the classic rules says; mW, NaN where it has nothing to say."""
        chosen = EVERY if which is None else which
        return classic_mw(predictor, self._parts.nodes, self._parts.recent, chosen)

    def curve(self, node: int, horizon_s: int, quantiles: Sequence[float]) -> Array:
        """Return one node's predicted peak in mW at each quantile."""
        which = np.array([node])
        return np.array([self.predict(horizon_s, q, which).peak_mw[0] for q in quantiles])

    def exceed_probability(
        self, horizon_s: int, limit_mw: Array, which: Array | None = None
    ) -> Array:
        """Return per node the probability that its peak passes a limit within a horizon."""
        return self.sight(horizon_s, which).exceed_probability(limit_mw)

    def peak_second(self, node: int, horizon_s: int) -> int:
        """Return when in a horizon the time of day usually peaks, since 1970; 0: unknown."""
        template = self._parts.template
        return template.peak_quarter(node, horizon_s) if template else 0

    def calibration(
        self,
        kind: int,
        horizon_s: int,
        quantile: float,
        predictor: Predictor = Predictor.CONFORMAL,
    ) -> Calibration:
        """Return how a predictor has held over seven days for nodes of a kind."""
        return self._parts.book.read(predictor, kind, horizon_s, quantile)

    def calibrations(self) -> Iterator[Calibration]:
        """Yield every predictor, kind, horizon and scored quantile with a closed window."""
        return self._parts.book.all()

    def state(self) -> State:
        """Return everything learned, as arrays of its own; what was predicted stays the same."""
        parts = self._parts
        state: State = {
            "model_version": np.array(MODEL_VERSION),
            "horizons_s": np.array(self.config.horizons_s),
            "timing": np.array([self.config.lag_s, self.config.origins]),
            "second": np.array(self.second),
            **prefixed("nodes", parts.nodes.state()),
            **prefixed("levels", parts.levels.state()),
            **prefixed("recent", parts.recent.state()),
            **prefixed("cohorts", parts.cohorts.state()),
            **prefixed("scores", parts.scores.state()),
            **prefixed("by_minute", parts.by_minute.state()),
            **prefixed("book", parts.book.state()),
        }
        if parts.template is not None:
            state |= prefixed("template", parts.template.state())
        for horizon_s, horizon in self._horizons.items():
            state |= prefixed(f"h{horizon_s}", horizon.state())
        return {name: value.copy() for name, value in state.items()}

    def check(self, state: State) -> None:
        """Raise ValueError where a state is of another method, other horizons, or incomplete."""
        wanted = {name for name in self.state() if not name.startswith("template.day")}
        if missing := sorted(wanted - state.keys()):
            raise ValueError(f"state lacks {missing[0]} and {len(missing) - 1} more")
        mine = (MODEL_VERSION, self.config.horizons_s, (self.config.lag_s, self.config.origins))
        timing = tuple(state["timing"].tolist())
        theirs = (int(state["model_version"]), tuple(state["horizons_s"].tolist()), timing)
        if mine != theirs:
            raise ValueError(f"state of method, horizons and timing {theirs}, not {mine}")

    def restore(self, state: State) -> None:
        """Take a state over, node by node by id; nodes that it does not know start cold.

        Raises ValueError, and takes nothing, where ``check`` does.
        """
        self.check(state)
        parts = self._parts
        source = sources(state["nodes.ids"].tolist(), self.ids)
        rescaled = parts.nodes.restore(under("nodes", state), source)
        parts.levels.restore(under("levels", state), source)
        parts.recent.restore(under("recent", state), source)
        cohorts, rings, minute_rings = parts.cohorts.restore(under("cohorts", state))
        parts.scores.restore(under("scores", state), rings)
        parts.by_minute.restore(under("by_minute", state), minute_rings)
        parts.book.restore(under("book", state))
        if parts.template is not None:
            parts.template.restore(under("template", state), source, rescaled)
        for horizon_s, horizon in self._horizons.items():
            horizon.restore(under(f"h{horizon_s}", state), source, cohorts, rescaled)
        self.second = int(state["second"])
