"""Outlooks for who may see no seconds of few hosts (design §7): everybody but operators.

Answers are computed from a shown outlook as from any other, so nothing that follows from
it, a headroom, a rank, a refusal or an event, can tell more than it holds. Nodes of
crowds are as they are. Of nodes with few hosts it has a ``MinuteHold``; what is
reserved, budgeted and heard of them is always the newest.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import fields, replace
from functools import cached_property

import numpy as np

from chipwatt.collector.forecast.contract import Prediction
from chipwatt.collector.placement.crowds import CROWD, few_hosts, hosts_behind
from chipwatt.collector.placement.minute_hold import MinuteHold, minute_of
from chipwatt.collector.placement.outlook import (
    DEFAULT_HORIZON_S,
    DEFAULT_QUANTILE,
    Asked,
    Outlook,
)
from chipwatt.collector.placement.outlooks import Outlooks
from chipwatt.collector.placement.topology import Topology
from chipwatt.collector.placement.trust import Quality, Trust
from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.tables import Array

_PPM_DIGITS = 2
"""A share that many peaks stand behind then does not move with each of them."""
_KEPT = 3
"""Snapshots live a minute, so of two minutes; and one more, as a new topology begins anew."""


class ShownOutlook(Outlook):
    """An exact outlook, behind what is held of nodes with few hosts."""

    def __init__(self, exact: Outlook, hold: MinuteHold) -> None:
        # All that it inherits without overriding is of who is heard, not of power.
        super().__init__(*exact.moment)
        self.exact = exact
        self._hold = hold
        self._few = hold.few
        self._shown: dict[Asked, Prediction] = {}
        silent = self._few & ~exact.alive
        """What counts for them is a stand-in, which must not wait."""
        self._held = self._few & ~silent
        self.now_mw = self._mixed(exact.now_mw, hold.now_mw)
        self.now_mw[silent] = hold.above(exact.now_mw)[silent]

    @property
    def id(self) -> str:
        """Return the id of the exact one: it names the moment, to each as he may see it."""
        return self.exact.id

    @cached_property
    def mean_mw(self) -> Array:
        return self._mixed(self.exact.mean_mw, self._hold.mean_mw)

    @cached_property
    def peak_1s_mw(self) -> Array:
        return self._mixed(self.exact.peak_1s_mw, self._hold.peak_mw)

    def holds(self, horizon_s: int) -> bool:
        return self.exact.holds(horizon_s)

    def prepare(self, asked: Asked) -> Prediction:
        shown = self._shown.get(asked)
        if shown is None:
            shown = self._shown.setdefault(asked, self._mixed_prediction(asked))
        return shown

    def exceed_ppm(self, horizon_s: int, limit_mw: Array) -> Array:
        coarse_mw = np.where(self._few, self._hold.below(limit_mw), limit_mw)
        exact = self.exact.exceed_ppm(horizon_s, coarse_mw)
        return np.where(self._held, self._hold.exceed_ppm(horizon_s, limit_mw), exact)

    def history(self, positions: Array) -> Array:
        return self._mixed_rows(self.exact.history(positions), positions)

    def settled_mw(self, positions: Array, seconds: int) -> Array:
        return self._mixed_rows(self.exact.settled_mw(positions, seconds), positions)

    def peak_second(self, position: int, horizon_s: int) -> int:
        return self.exact.peak_second(position, horizon_s)

    def trust(
        self,
        position: int,
        horizon_s: int = DEFAULT_HORIZON_S,
        quantile: float = DEFAULT_QUANTILE,
    ) -> Trust:
        trust = self.exact.trust(position, horizon_s, quantile)
        trust = replace(trust, coverage_7d_ppm=self._coverage_ppm(position, trust))
        if not self._held[position]:
            return trust
        then = self._hold.outlook
        held = then.trust(position, horizon_s, quantile)
        age_ms = max(0, self.as_of_unix_ns - then.as_of_unix_ns) // NS_PER_MS
        return replace(
            trust,
            as_of_unix_ns=then.as_of_unix_ns,
            staleness_ms=max(trust.staleness_ms, held.staleness_ms + age_ms),
            quality=tuple(sorted({*trust.quality, *held.quality, Quality.BY_THE_MINUTE})),
            predictor=held.predictor,
            scores=held.scores,
        )

    def _coverage_ppm(self, position: int, of: Trust) -> int:
        """Return coverage, rounded, where many hosts are judged by it: it moves with each peak."""
        many = self._behind[self.topology.nodes[position].kind] >= CROWD
        return round(of.coverage_7d_ppm, -_PPM_DIGITS) if many else 0

    @cached_property
    def _behind(self) -> Counter[int]:
        return hosts_behind(self.exact)

    def _mixed(self, exact: Array, held: Array) -> Array:
        return np.where(self._few, held, exact)

    def _mixed_rows(self, exact: Array, positions: Array) -> Array:
        few = self._few[positions]
        if few.any():
            exact = exact.copy()
            exact[few] = self._hold.history_mw(positions[few])[:, -exact.shape[1] :]
        return exact

    def _mixed_prediction(self, asked: Asked) -> Prediction:
        live, held = self.exact.prediction(*asked), self._hold.prediction(asked)
        stand_in = self._hold.coarse(live)

        def mixed(name: str) -> Array:
            shown = np.where(self._held, getattr(held, name), getattr(stand_in, name))
            return self._mixed(getattr(live, name), shown)

        return Prediction(**{field.name: mixed(field.name) for field in fields(Prediction)})


class ShownOutlooks:
    """Stands where ``Outlooks`` does, for who sees no seconds of few hosts; thread-safe."""

    def __init__(self, outlooks: Outlooks) -> None:
        self._outlooks = outlooks
        self._lock = threading.Lock()
        self._holds: deque[MinuteHold] = deque(maxlen=_KEPT)
        self._newest: ShownOutlook | None = None

    @property
    def topology_error(self) -> str:
        return self._outlooks.topology_error

    def topology_at(self, unix_ns: int) -> Topology | None:
        return self._outlooks.topology_at(unix_ns)

    def latest(self) -> ShownOutlook:
        """Return the newest outlook, with every reservation made so far."""
        exact = self._outlooks.latest()
        with self._lock:
            newest = self._newest
            if newest is None or newest.exact is not exact:
                newest = self._newest = ShownOutlook(exact, self._due(exact))
            return newest

    def get(self, id: str) -> ShownOutlook | None:  # noqa: A002 - what it is
        """Return the outlook of that id; None where it is older than a minute, or never was."""
        exact = self._outlooks.get(id)
        with self._lock:
            hold = None if exact is None else self._hold_of(exact)
        return ShownOutlook(exact, hold) if exact is not None and hold is not None else None

    def forget(self) -> None:
        """Hold nothing any longer: what the forecast knows has changed all at once."""
        with self._lock:
            self._holds.clear()
            self._newest = None

    def _due(self, exact: Outlook) -> MinuteHold:
        """Return what is held for an outlook, from the first that is asked for in a minute."""
        hold = self._hold_of(exact)
        if hold is None or (hold.minute < minute_of(exact) and hold is self._holds[-1]):
            last = self._holds[-1] if self._holds else None
            same = last is not None and last.outlook.topology is exact.topology
            few = last.few if last is not None and same else few_hosts(exact.topology)
            hold = MinuteHold(exact, few)
            self._holds.append(hold)
        return hold

    def _hold_of(self, exact: Outlook) -> MinuteHold | None:
        for hold in reversed(self._holds):
            is_same = hold.outlook.topology is exact.topology
            if is_same and hold.outlook.as_of_unix_ns <= exact.as_of_unix_ns:
                return hold
        return None
