"""What schedulers are shown of power: whole minutes, held for a minute and in coarse steps.

All that goes in are the means of the last eight whole minutes of every host, in sixteen
levels as the energy of a workload's window (guarantee G2), whatever the order of what it
drew; nodes above hosts are sums of those. A mean is rounded up or down by chance, with
the odds that keep it right on average, so that no level is one at which a small change
shows more, and sums of many hosts are not off together. Chance is a keyed hash of host
and minute: a hold made twice rounds alike.

Peaks are predicted from the minutes with the margins of the node's whole cohort; while
the forecast is cold, nameplates stand in, or of hosts without one their highest in-bin
peaks. Peaks are rounded up, limits down. Minutes are those of the wall clock, taken when
their last second is final.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final

import numpy as np

from chipwatt.collector.forecast.contract import ForecastConfig, Prediction, Predictor
from chipwatt.collector.forecast.horizon import MINUTES, minute_base
from chipwatt.collector.forecast.sight import Seen
from chipwatt.collector.placement.outlook import DEFAULT_QUANTILE, Asked, Outlook
from chipwatt.collector.placement.topology import WHOLE_PPM
from chipwatt.collector.rings import RING_S
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.coarse import STEPS_AT_LIMIT, WINDOW_NS
from chipwatt.core.tables import Array

UNRATED_MW = 800_000
"""A host that nobody rated has the step of a chip, as for energy at egress."""
QUANTILES: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
"""Those that are answered, the next one up for any other: between them scores could be counted."""
MINUTE_S: Final = WINDOW_NS // NS_PER_S
LAG_S: Final = ForecastConfig().lag_s
_SPAN_S = MINUTES * MINUTE_S
_A_PART = 4_096
"""Hosts whose histories are read at once: 10 MiB."""
_MINUTE_OF_SECOND = np.maximum(np.arange(RING_S) - (RING_S - _SPAN_S), 0) // MINUTE_S
"""Which minute stands for each of ten minutes' seconds: for those before the first, the first."""
_ROUNDING = 1e-6
"""Of a step: fractions must not be one step off."""


class MinuteHold:
    """One minute of a topology as it is shown, made from an outlook in it; thread-safe.

    Arrays have a place a node. ``secret`` makes the chance of roundings.
    """

    def __init__(self, outlook: Outlook, secret: bytes) -> None:
        self.outlook = outlook
        topology = outlook.topology
        hosts, rated_mw = topology.hosts, topology.rated_mw[topology.hosts]
        steps_mw = np.where(rated_mw > 0, rated_mw, UNRATED_MW) / STEPS_AT_LIMIT
        self._steps_mw = np.ones(len(topology.nodes))
        np.maximum.at(self._steps_mw, topology.above, steps_mw[topology.beneath])
        for horizon_s in outlook.horizons_s:
            # What the forecast knows of a horizon later is of another moment.
            outlook.prepare((horizon_s, DEFAULT_QUANTILE))
        end_s = self.minute * MINUTE_S
        of_hosts = _minutes_mw(outlook, end_s)
        chance = chances(secret, [topology.nodes[p].id for p in hosts.tolist()], self.minute)
        levels = np.floor(of_hosts / steps_mw[:, np.newaxis] + chance)
        highest_mw = outlook.highest_mw(hosts, end_s - _SPAN_S, end_s)
        highest_mw = np.ceil(highest_mw / steps_mw - _ROUNDING) * steps_mw
        columns = np.zeros((len(topology.nodes), MINUTES + 3))
        columns[hosts, :MINUTES] = levels * steps_mw[:, np.newaxis]
        columns[hosts, MINUTES] = np.where(rated_mw > 0, rated_mw, highest_mw)
        columns[hosts, MINUTES + 1] = rated_mw
        columns[hosts, MINUTES + 2] = rated_mw == 0
        topology.carry_up(columns)
        self._minutes_mw = columns[:, :MINUTES]
        cold_mw, nameplate_mw, unrated = columns[:, MINUTES:].T
        self._nameplate_mw = np.where(unrated > 0, 0.0, nameplate_mw)
        """0 where a host beneath has none."""
        self.mean_mw: Array = np.rint(self._minutes_mw.mean(axis=1))
        self.peak_mw: Array = np.rint(self._minutes_mw.max(axis=1))
        """The highest minute."""
        base_mw = minute_base(self._minutes_mw.T)
        rule = np.where(unrated > 0, int(Predictor.RECENT_MAX), int(Predictor.NAMEPLATE))
        self._seen = Seen(base_mw, np.maximum(base_mw, cold_mw), rule)
        self._shown: dict[Asked, Prediction] = {}

    @property
    def minute(self) -> int:
        """Return the minute that ended last, since 1970, plus one: where the next one begins."""
        return minute_of(self.outlook)

    @property
    def now_mw(self) -> Array:
        """Mean of the last minute."""
        now: Array = np.rint(self._minutes_mw[:, -1])
        return now

    def history_mw(self, positions: Array) -> Array:
        """Return the minutes of these nodes as ten minutes, a column a second, newest last."""
        return self._minutes_mw[positions][:, _MINUTE_OF_SECOND]

    def prediction(self, asked: Asked) -> Prediction:
        """Return what is shown of a prediction. Raises KeyError, ValueError as the outlook does."""
        horizon_s, quantile = asked
        asked = (horizon_s, next((q for q in QUANTILES if q >= quantile), quantile))
        shown = self._shown.get(asked)
        if shown is None:
            shown = self._coarse(self.outlook.prediction_on(asked, self._seen))
            shown = self._shown.setdefault(asked, shown)
        return shown

    def exceed_ppm(self, horizon_s: int, limit_mw: Array) -> Array:
        """Return per node the least risk that is answered at which its peak is below a limit."""
        ppm = np.full(len(limit_mw), WHOLE_PPM, dtype=np.int64)
        for quantile in QUANTILES:
            below = self.prediction((horizon_s, quantile)).peak_mw <= limit_mw
            ppm[below] = round((1.0 - quantile) * WHOLE_PPM)
            # More than its nameplates a node draws for moments at most.
            ppm[below & (self._nameplate_mw > 0) & (limit_mw >= self._nameplate_mw)] = 0
        return ppm

    def silent_mw(self, newest: Outlook) -> Array:
        """Return what counts more, per node, for hosts that are not heard from now."""
        hosts = newest.topology.hosts
        more = np.zeros((len(self._steps_mw), 1))
        if not newest.fresh.all():
            stand_in = step_above(newest.stand_ins_mw(), self._steps_mw[hosts])
            missing = np.maximum(stand_in - self._seen.base_mw[hosts], 0.0)
            more[hosts, 0] = np.where(newest.fresh, 0.0, missing)
            newest.topology.carry_up(more)
        return more[:, 0]

    def with_silent(self, shown: Prediction, more_mw: Array) -> Prediction:
        """Return a prediction with ``silent_mw`` on it; no more than the nameplates beneath."""
        peak_mw = shown.peak_mw + more_mw
        most_mw = np.where(self._nameplate_mw > 0, self._nameplate_mw, peak_mw)
        return replace(
            shown,
            peak_mw=np.minimum(peak_mw, np.maximum(most_mw, shown.peak_mw)),
            assumed_mw=shown.assumed_mw + more_mw,
        )

    def _coarse(self, of: Prediction) -> Prediction:
        topology, limit_mw = self.outlook.topology, self._nameplate_mw
        peak_mw = step_above(of.peak_mw, self._steps_mw)
        # A step beyond what a node can draw would only say that its steps do not end there.
        peak_mw = np.where((of.peak_mw <= limit_mw + 1.0) & (peak_mw > limit_mw), limit_mw, peak_mw)
        # Where nobody knows what is drawn, the budget counts as used up, and not as exceeded.
        peak_mw = np.where(of.peak_mw == topology.budget_mw, of.peak_mw, peak_mw)
        peak_mw[topology.chips] = topology.rated_mw[topology.chips]
        assumed_mw = step_above(of.assumed_mw, self._steps_mw)
        return replace(
            of,
            peak_mw=np.ceil(peak_mw - _ROUNDING),
            base_mw=np.maximum(step_above(of.base_mw, self._steps_mw) - assumed_mw, 0.0),
            assumed_mw=assumed_mw,
            margin_mw=step_above(of.margin_mw, self._steps_mw),
        )


def minute_of(outlook: Outlook) -> int:
    """Return the first minute, since 1970, that is not final at the time of an outlook."""
    return (outlook.as_of_unix_ns // NS_PER_S - LAG_S + 1) // MINUTE_S


def step_above(power_mw: Array, steps_mw: Array) -> Array:
    """Return the next steps at or above; mW."""
    stepped: Array = np.rint(np.ceil(power_mw / steps_mw - _ROUNDING) * steps_mw)
    return stepped


def chances(secret: bytes, ids: list[str], end: int) -> Array:
    """Return for each host and each of the minutes before ``end`` a number from 0 to 1."""
    keys = [hashlib.blake2b(name.encode(), key=secret, digest_size=8).digest() for name in ids]
    of_host = np.frombuffer(b"".join(keys), dtype=np.uint64)
    minutes = np.arange(end - MINUTES, end, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    # The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
    mixed = of_host[:, np.newaxis] + minutes
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    share: Array = (mixed ^ (mixed >> np.uint64(31))) / 2.0**64
    return share


def _minutes_mw(outlook: Outlook, end_s: int) -> Array:
    """Return the means of hosts' last whole minutes, a row a host."""
    hosts = outlook.topology.hosts
    first = RING_S - 1 - (outlook.as_of_unix_ns // NS_PER_S - end_s) - _SPAN_S
    found = np.zeros((len(hosts), MINUTES))
    for start in range(0, len(hosts), _A_PART):
        part = slice(start, start + _A_PART)
        seconds = outlook.history(hosts[part])[:, first : first + _SPAN_S]
        found[part] = seconds.reshape(-1, MINUTES, MINUTE_S).mean(axis=2, dtype=np.float64)
    return found
