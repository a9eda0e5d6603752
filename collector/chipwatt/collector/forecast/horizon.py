"""One horizon of the forecast: what a margin is added to, how it is read and how it is learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chipwatt.collector.forecast.alpha import SCORED, Alpha
from chipwatt.collector.forecast.calibration import Book
from chipwatt.collector.forecast.carry import State, prefixed, under
from chipwatt.collector.forecast.classic import classic_mw
from chipwatt.collector.forecast.cohorts import BINS, Cohorts
from chipwatt.collector.forecast.contract import KINDS, LEAST_HOSTS, ForecastConfig, Predictor
from chipwatt.collector.forecast.levels import SETTLE_S, Levels
from chipwatt.collector.forecast.nodes import EVERY, Nodes, Which
from chipwatt.collector.forecast.pending import Closed, Pending
from chipwatt.collector.forecast.reading import Basis, Reading, minute_peak_mw
from chipwatt.collector.forecast.recent import Recent
from chipwatt.collector.forecast.scores import MIN_SCORES, RING, Scores
from chipwatt.collector.forecast.slopes import Slopes
from chipwatt.collector.forecast.template import SERVED_DAYS, SHADOW_DAYS, Template
from chipwatt.core.tables import Array

MINUTES = 8
"""Whole minutes that somebody who sees no seconds may know: within ten they are surely there."""
_BINNED_STRANGERS = 500
"""Windows without a common second from which on a volatility bin speaks for itself."""
_KEPT = (Predictor.RC_LIKE, Predictor.N_SIGMA, Predictor.RECENT_MAX)
"""Rules whose answer is kept until its window closes; a nameplate needs no keeping."""
_PARTS_OF_HOSTS = 1e-3
"""Hosts are counted by parts: what rounding may take from their sum."""
_TOUCH = 1.0 + 1e-6
"""A peak held at the cap is not above it by single precision."""


def minute_base(minutes_mw: Array) -> Array:
    """Return what peaks are measured against for who knows minutes alone; rows are minutes.

    It is the last minute, or the mean of all if that is higher; NaN where nothing is known.
    Against recorded series the mean alone misses starts, and the highest minute costs up to
    a tenth more (``python -m tests.bench.placement e1``).
    """
    known = ~np.isnan(minutes_mw)
    total = np.where(known, minutes_mw, 0.0).sum(axis=0)
    count = known.sum(axis=0)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    base: Array = np.fmax(mean, minutes_mw[-1])
    return base


def fast_s(horizon_s: int) -> float:
    """Return the half-life of the level that follows the load: half a horizon, or ten minutes."""
    return min(horizon_s / 2, 600.0)


def slow_s(horizon_s: int) -> float:
    """Return the half-life of the level that the load returns to: ten horizons, or an hour."""
    return min(10.0 * horizon_s, 3_600.0)


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that the horizons share."""

    nodes: Nodes
    levels: Levels
    recent: Recent
    template: Template | None
    cohorts: Cohorts
    scores: Scores
    by_minute: Scores
    book: Book


class Horizon:
    """State and method of one horizon, ``number`` among all."""

    def __init__(
        self, number: int, config: ForecastConfig, parts: Parts, half_lives_s: Sequence[float]
    ) -> None:
        self.horizon_s = config.horizons_s[number]
        self._number = number
        self._parts = parts
        self._fast = half_lives_s.index(fast_s(self.horizon_s))
        self._slow = half_lives_s.index(slow_s(self.horizon_s))
        self._slopes = Slopes(len(parts.cohorts.keys))
        nodes = len(parts.nodes.ids)
        rows = len(SCORED) + len(_KEPT)
        margins = len(SCORED), len(parts.cohorts.keys)
        self.pending = Pending(self.horizon_s, config.lag_s, config.origins, rows, nodes, margins)
        self.alpha = Alpha(nodes, config.origins)
        self._bins = np.zeros(nodes, dtype=np.uint8)
        self._min_binned = min(_BINNED_STRANGERS * config.origins, RING)

    def due(self, second: int, last: int) -> bool:
        """Return whether an origin lies between two bins; horizons take turns."""
        turn, stride = 2 * self._number, self.pending.stride_s
        return (second + turn) // stride != (last + turn) // stride

    def basis(self, which: Which = EVERY) -> Basis:
        """Return base, template and ring of each node."""
        parts = self._parts
        slow, swing = self._levels(which)
        base = slow + self._slopes.slope[parts.cohorts.of[which]] * swing
        template = np.zeros(len(base))
        with_template = np.zeros(len(base), dtype=np.int64)
        cohort = parts.cohorts.of[which]
        pool = np.full(len(base), BINS, dtype=np.int64)
        if parts.template is not None and self.horizon_s in parts.template.horizons_s:
            ring = parts.cohorts.ring(self._number, cohort, with_template + 1, pool)
            served = parts.template.days(self.horizon_s)[which] >= SERVED_DAYS
            served &= parts.scores.counts[ring] >= MIN_SCORES
            rise = parts.template.rise_mw(self.horizon_s)[which]
            template = np.where(served, rise, template)
            with_template[served] = 1
        binned = parts.cohorts.ring(self._number, cohort, with_template, self._bins[which])
        pooled = parts.cohorts.ring(self._number, cohort, with_template, pool)
        counts = parts.scores.counts
        rings = np.where(counts[binned] >= self._min_binned, binned, pooled)
        parts.scores.settle(np.unique(rings))
        held = parts.scores.held(rings)
        ready = (held >= MIN_SCORES) & (parts.levels.age_s[which] >= SETTLE_S)
        return Basis(base, template, rings, held, ready)

    def _levels(self, which: Which = EVERY) -> tuple[Array, Array]:
        """Return the slow level, and by how much the fast one is above it."""
        level = self._parts.levels.level_mw
        slow = level[self._slow, which]
        return slow, level[self._fast, which] - slow

    def reading(self, which: Which = EVERY) -> Reading:
        """Return what the conformal predictions of these nodes are made of, as it is now."""
        parts = self._parts
        basis = self.basis(which)
        scores, rings = parts.scores.frozen(basis.rings)
        minute_rings = parts.cohorts.minute_ring(self._number, parts.cohorts.of[which])
        parts.by_minute.settle(np.unique(minute_rings))
        by_minute, minute_rings = parts.by_minute.frozen(minute_rings)
        return Reading(
            basis=basis,
            scale_mw=parts.nodes.scale_mw[which],
            n_sigma_mw=parts.recent.n_sigma_mw(which),
            scores=scores,
            rings=rings,
            by_minute=by_minute,
            minute_rings=minute_rings,
            alpha=self.alpha.frozen(which),
        )

    def open(self, second: int) -> None:
        """Begin a window with what every predictor says now."""
        parts, nodes = self._parts, self._parts.nodes
        volatility = parts.levels.volatility_mw(self._fast) / nodes.scale_mw
        self._bins = parts.cohorts.bins(self._number, volatility, parts.levels.settled)
        reading = self.reading()
        rise = np.full(len(nodes.ids), np.nan)
        if parts.template is not None and self.horizon_s in parts.template.horizons_s:
            known = parts.template.days(self.horizon_s) >= SHADOW_DAYS
            rise = np.where(known, parts.template.rise_mw(self.horizon_s), np.nan)
        usable = nodes.whole & parts.levels.settled
        slow, swing = self._levels()
        minutes = parts.recent.minutes_mw(second + 1, MINUTES)
        share = minute_base(minutes) / nodes.scale_mw
        margins = np.stack([self._minute_margins(quantile) for quantile in SCORED])
        rows = self.pending.open(second, slow, swing, rise, self._bins, share, margins, usable)
        now, cap = nodes.mean_mw, np.maximum(nodes.cap_mw(), nodes.mean_mw)
        for row, quantile in enumerate(SCORED):
            held = np.clip(reading.peak_mw(quantile), now, cap)
            rows[row] = np.where(reading.basis.ready, held, np.nan)
        for row, predictor in enumerate(_KEPT, start=len(SCORED)):
            rows[row] = classic_mw(predictor, nodes, parts.recent)

    def _minute_margins(self, quantile: float) -> Array:
        """Return what each cohort's minutes are raised by, as a share; NaN while it is cold."""
        parts = self._parts
        rings = parts.cohorts.minute_ring(self._number, np.arange(len(parts.cohorts.keys)))
        margins, _ = parts.by_minute.margins(rings, 1.0 - quantile)
        return np.where(parts.by_minute.held(rings) >= MIN_SCORES, margins, np.nan)

    def close(self, second: int) -> None:
        """Score every window that has ended, and learn from it."""
        for closed in self.pending.closed(second):
            if closed.whole.any():
                self._learn(closed)
                self._enter(closed)

    def _learn(self, closed: Closed) -> None:
        parts = self._parts
        which = np.flatnonzero(closed.whole)
        scale, cohort = parts.nodes.scale_mw, parts.cohorts.of
        over_slow = closed.highest_mw - closed.slow_mw
        self._slopes.learn(
            cohort[which], (closed.swing_mw / scale)[which], (over_slow / scale)[which]
        )
        # Scored with the slope of today, which is the one that the margin will be added to.
        rise = over_slow - self._slopes.slope[cohort] * closed.swing_mw
        self._push(closed, 0, rise, closed.whole)
        with_template = closed.whole & ~np.isnan(closed.template_mw)
        if with_template.any():
            self._push(closed, 1, rise - closed.template_mw, with_template)
        predicted = closed.predicted_mw[: len(SCORED)]
        counts = closed.whole & ~np.isnan(predicted)
        self.alpha.learn(closed.highest_mw > predicted * _TOUCH, counts)

    def _push(self, closed: Closed, template: int, rise_mw: Array, scored: Array) -> None:
        parts = self._parts
        score = rise_mw / parts.nodes.scale_mw
        over_minutes = closed.highest_mw / parts.nodes.scale_mw - closed.minute_share
        for cohort, number, nodes in parts.cohorts.samples(scored, closed.volatility_bin):
            ring = parts.cohorts.ring(
                self._number, np.array(cohort), np.array(template), np.array(number)
            )
            parts.scores.push(int(ring), score[nodes])
            if number == BINS and not template:
                known = over_minutes[nodes]
                ring = parts.cohorts.minute_ring(self._number, np.array(cohort))
                parts.by_minute.push(int(ring), known[~np.isnan(known)])

    def _enter(self, closed: Closed) -> None:
        nodes = self._parts.nodes
        which = np.flatnonzero(closed.whole)
        scale, kinds = nodes.scale_mw[which], nodes.kinds[which]
        peak = closed.highest_mw[which]
        predicted = closed.predicted_mw[:, which]
        said = {Predictor.CONFORMAL: predicted[: len(SCORED)]}
        said[Predictor.BY_THE_MINUTE] = self._by_the_minute(closed, which)
        said |= {p: predicted[len(SCORED) + n, np.newaxis] for n, p in enumerate(_KEPT)}
        for predictor in (Predictor.NAMEPLATE, Predictor.NAMEPLATE_90):
            said[predictor] = classic_mw(predictor, nodes, self._parts.recent, which)[np.newaxis]
        for predictor, rows in said.items():
            scored = np.vstack([peak[np.newaxis], rows]) / scale
            self._parts.book.enter(self._number, predictor, scored, kinds)

    def _by_the_minute(self, closed: Closed, which: Array) -> Array:
        """Return what is shown to who sees no second, but for its coarse steps; mW.

        NaN for kinds of node of whose predictions fewer than ``LEAST_HOSTS`` stand behind this
        window: one host among seven of which nothing was predicted yet is a host alone.
        """
        nodes, cohorts = self._parts.nodes, self._parts.cohorts
        base_mw = closed.minute_share[which] * nodes.scale_mw[which]
        margin_mw = closed.minute_margins[:, cohorts.of[which]] * nodes.scale_mw[which]
        peak_mw = minute_peak_mw(base_mw, margin_mw, nodes.cap_mw(which))
        kinds, said = nodes.kinds[which], ~np.isnan(peak_mw).any(axis=0)
        hosts = np.bincount(kinds[said], nodes.hosts[which][said], KINDS)
        peak_mw[:, hosts[kinds] < LEAST_HOSTS - _PARTS_OF_HOSTS] = np.nan
        return peak_mw

    def state(self) -> State:
        return {
            "bins": self._bins,
            **prefixed("pending", self.pending.state()),
            **prefixed("alpha", self.alpha.state()),
            **prefixed("slopes", self._slopes.state()),
        }

    def restore(self, state: State, source: Array, cohorts: Array, rescaled: Array) -> None:
        """Take over what is known; ``cohorts`` gives each cohort's place in the state.

        ``rescaled``: what a share of each node's old scale is one of the new.
        """
        self._slopes.restore(under("slopes", state), cohorts)
        self._bins[source >= 0] = state["bins"][source[source >= 0]]
        self.pending.restore(under("pending", state), source, cohorts, rescaled)
        self.alpha.restore(under("alpha", state), source)
