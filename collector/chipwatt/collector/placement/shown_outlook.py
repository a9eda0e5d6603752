"""Outlooks for who may see nobody's seconds (design §7): everybody but operators.

Answers are computed from a shown outlook as from any other, so nothing that follows from
it, a headroom, a rank, a refusal or an event, can tell more than it holds: a
``MinuteHold`` of every node. What is reserved, budgeted and heard is always the newest.
"""

from __future__ import annotations

import secrets
import threading
from collections import Counter, deque
from dataclasses import replace
from functools import cached_property

import numpy as np

from chipwatt.collector.forecast.contract import Calibration, Prediction, Predictor
from chipwatt.collector.forecast_quality import hosts_behind, of_many
from chipwatt.collector.placement.minute_hold import MINUTE_S, MinuteHold, minute_of
from chipwatt.collector.placement.outlook import Asked, Outlook
from chipwatt.collector.placement.outlooks import Outlooks
from chipwatt.collector.placement.topology import Topology
from chipwatt.collector.placement.trust import Columns, Quality, Trust
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.tables import Array

_KEPT = 3
"""Snapshots live a minute, so of two minutes; and one more, as a new topology begins anew."""


class ShownOutlook(Outlook):
    """The moment of an exact outlook, with the power that is held."""

    def __init__(self, exact: Outlook, hold: MinuteHold) -> None:
        # All that it inherits without overriding is of who is heard, not of power.
        super().__init__(*exact.moment)
        self.exact = exact
        self._hold = hold
        self._more_mw = hold.silent_mw(exact)
        self.now_mw = hold.now_mw + self._more_mw

    @property
    def id(self) -> str:
        """Return the id of the exact one: it names the moment, to each as he may see it."""
        return self.exact.id

    @cached_property
    def mean_mw(self) -> Array:
        return self._hold.mean_mw

    @cached_property
    def peak_1s_mw(self) -> Array:
        """The highest minute."""
        return self._hold.peak_mw

    def holds(self, horizon_s: int) -> bool:
        return horizon_s in self.horizons_s

    def prepare(self, asked: Asked) -> Prediction:
        return self._hold.with_silent(self._hold.prediction(asked), self._more_mw)

    def exceed_ppm(self, horizon_s: int, limit_mw: Array) -> Array:
        return self._hold.exceed_ppm(horizon_s, limit_mw - self._more_mw)

    def history(self, positions: Array) -> Array:
        return self._hold.history_mw(np.asarray(positions, dtype=np.int64))

    def settled_mw(self, positions: Array, seconds: int) -> Array:
        return self.history(positions)[:, -seconds:]

    def highest_mw(self, positions: Array, first_s: int, end_s: int) -> Array:  # noqa: ARG002
        return self.peak_1s_mw[positions]

    def peak_second(self, position: int, horizon_s: int) -> int:
        """Return the quarter of an hour of the day, as many days have shown it."""
        return self.exact.peak_second(position, horizon_s)

    def calibration(
        self, position: int, horizon_s: int, quantile: float, predictor: Predictor
    ) -> Calibration:
        """Return how what is shown has held on days that are over, and of nothing else.

        Rounded, and of kinds of nodes that are not of a few hosts alone: see ``told_quality``.
        """
        if predictor is Predictor.BY_THE_MINUTE:
            held = self.exact.calibration(position, horizon_s, quantile, predictor)
            if told := of_many([held], self._hosts_behind):
                return told[0]
        kind = int(self.topology.nodes[position].kind)
        return Calibration(predictor, kind, horizon_s, quantile, 0, np.nan, np.nan)

    @cached_property
    def _hosts_behind(self) -> Counter[int]:
        return hosts_behind(self.exact)

    def trust_of_all(self) -> Trust:
        return self._marked(super().trust_of_all())

    def trust_beneath(self, position: int) -> Trust:
        return self._marked(super().trust_beneath(position))

    def _marked(self, trust: Trust) -> Trust:
        since_ns = self._hold.minute * MINUTE_S * NS_PER_S
        age_ms = max(0, self.as_of_unix_ns - since_ns) // NS_PER_MS
        return replace(
            trust,
            staleness_ms=max(trust.staleness_ms, age_ms),
            quality=tuple(sorted({*trust.quality, Quality.BY_THE_MINUTE})),
        )

    @cached_property
    def _by_node(self) -> Columns:
        return self.exact.columns


class ShownOutlooks:
    """Stands where ``Outlooks`` does, for who sees nobody's seconds. Safe between threads."""

    def __init__(self, outlooks: Outlooks, secret: bytes = b"") -> None:
        self._outlooks = outlooks
        self._lock = threading.Lock()
        self._secret = secret or secrets.token_bytes(16)
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
        """Return what is held for an outlook; the first one of a minute makes it."""
        hold = self._hold_of(exact)
        if hold is None:
            hold = MinuteHold(exact, self._secret)
            self._holds.append(hold)
        return hold

    def _hold_of(self, exact: Outlook) -> MinuteHold | None:
        """Return the hold of an outlook's own minute and topology."""
        for hold in reversed(self._holds):
            if hold.outlook.topology is exact.topology and hold.minute == minute_of(exact):
                return hold
        return None
