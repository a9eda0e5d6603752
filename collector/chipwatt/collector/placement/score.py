"""What hosts are worth to a demand, in numbers: whether it fits, and the parts of its score.

A demand counts with the whole peak that a reservation of it would hold, carried up
by share. Nobody knows the phase of a newcomer, and one that is up for more than one
per cent of the time will, at the 99th percentile, meet the highest second of a sum:
so what fits here is granted by Reserve. How likely its peaks are to meet those of the
residents is said beside it, as the part ``coincidence``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chipwatt.collector.forecast.contract import Weakness
from chipwatt.collector.placement.demand import DemandShape, mean_of, peak_of
from chipwatt.collector.placement.host_watch import STALE_AFTER_S
from chipwatt.collector.placement.topology import WHOLE_PPM
from chipwatt.collector.placement.ways import HostWays
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.tables import Array

if TYPE_CHECKING:
    from chipwatt.collector.placement.outlook import Outlook

PARTS = (
    "headroom", "coincidence", "marginal_power", "carbon", "water", "swing", "pack",
)  # fmt: skip
"""Rows of every array of parts."""
_COINCIDENCE = PARTS.index("coincidence")
HIGHEST_S = 64
"""Highest seconds of a history that a newcomer is held against; the rest counts as the lowest."""
_ROUND_MW = 1e-3
"""Shares are fractions: what float64 loses must not refuse a demand that fits exactly."""
_SWING_SHARE = (0.0, 0.5, 1.0, 1.0)
"""Part of the rise from mean to peak that comes back and forth, by swing class."""


@dataclass(frozen=True, slots=True)
class SiteCost:
    """What a watt-hour costs at a site, up to a factor that all sites share."""

    carbon: float
    water: float


class Moment:
    """What a snapshot says whatever is reserved, computed once: of every node, and as a whole."""

    def __init__(self, outlook: Outlook, ways: HostWays) -> None:
        self.outlook, self.ways = outlook, ways
        self.mean_mw = outlook.mean_mw
        unrest = np.maximum(outlook.peak_1s_mw - outlook.mean_mw, 0.0)
        self.unrest_mw = np.append(unrest, 0.0)
        self.trust = outlook.trust_of_all()
        allowed = np.append(outlook.allowed_mw, np.inf)
        self.whole_mw = np.where(np.isinf(allowed), 1.0, np.maximum(allowed, 1.0))
        """What room is a share of; 1 where room has no end."""

    def same(self, outlook: Outlook) -> bool:
        """Return whether another snapshot differs by its reservations alone."""
        mine = self.outlook
        return mine.topology is outlook.topology and mine.as_of_unix_ns == outlook.as_of_unix_ns


class Ground:
    """What candidates stand on: a snapshot at one horizon and quantile, ready for numpy.

    Arrays over nodes have one place more, for ``ways.nowhere``, where nothing is ever full.
    """

    def __init__(self, moment: Moment, outlook: Outlook, horizon_s: int, quantile: float) -> None:
        self.moment, self.outlook, self.ways = moment, outlook, moment.ways
        self.horizon_s, self.quantile = horizon_s, quantile
        prediction = outlook.prediction(horizon_s, quantile)
        self.peak_mw = prediction.peak_mw
        stale = outlook.newest_s < outlook.as_of_unix_ns // NS_PER_S - STALE_AFTER_S
        self.stale = np.append(prediction.assumed_mw > 0.0, False)
        """Something stands in for a host that is not heard from: for the host, or one beneath."""
        self.stale[outlook.topology.hosts] |= stale[outlook.topology.hosts]
        self.cold = np.append((prediction.weakness & Weakness.COLD_START) > 0, False)
        self.free_mw = np.append(outlook.free_mw(horizon_s, quantile), np.inf)
        unlimited = np.isinf(outlook.allowed_mw)
        self.scale_mw = np.append(np.where(unlimited, self.peak_mw, outlook.allowed_mw), np.inf)
        """What may be drawn or, without a budget, what is expected to be."""


@dataclass(slots=True)
class Verdicts:
    """One value a candidate, in the order of ``rows``."""

    rows: Array
    """Places in ``topology.hosts``."""
    peak_mw: Array
    """The demand's peak on this hardware."""
    mean_mw: Array
    tightest: Array
    """Position of the node with the least room after placing; ``nowhere``: no budget."""
    share: Array
    """Of the demand's power at the tightest node."""
    after_mw: Array
    """Room there after placing; +inf: no budget."""
    feasible: Array
    parts: Array
    """Rows as PARTS; ppm."""


def judge(
    ground: Ground, rows: Array, shapes: Sequence[DemandShape], costs: Mapping[str, SiteCost]
) -> Verdicts:
    """Judge hosts for a demand; ``shapes`` is the demand on each of ``ways.hw_classes``.

    Coincidence is left at 0, its least; see ``add_coincidence``.
    """
    ways = ground.ways
    hw_class = ways.hw_class[rows]
    peak = np.array([peak_of(shape) for shape in shapes], dtype=np.float64)[hw_class]
    mean = np.array([mean_of(shape) for shape in shapes], dtype=np.float64)[hw_class]
    tightest, share, after, margin = _tightest(ground, rows, peak)
    parts = np.zeros((len(PARTS), len(rows)), dtype=np.int64)
    site = ways.site[ways.group[rows]]
    carbon = np.array([costs[s].carbon if s in costs else np.nan for s in ways.sites] + [np.nan])
    water = np.array([costs[s].water if s in costs else np.nan for s in ways.sites] + [np.nan])
    swing = np.array([_swing_mw(shape) for shape in shapes])[hw_class]
    unrest = ground.moment.unrest_mw[tightest] + swing * share
    used = ground.moment.mean_mw[ground.outlook.topology.hosts[rows]]
    own = ground.scale_mw[ground.outlook.topology.hosts[rows]]
    for name, values in (
        ("headroom", margin),
        ("marginal_power", _least_first(mean)),
        ("carbon", _least_first(mean * carbon[site])),
        ("water", _least_first(mean * water[site])),
        ("swing", 1.0 - unrest / np.maximum(ground.scale_mw[tightest], 1.0)),
        ("pack", used / np.maximum(own, 1.0)),
    ):
        parts[PARTS.index(name)] = _ppm(values)
    return Verdicts(rows, peak, mean, tightest, share, after, after >= 0.0, parts)


def scores(parts: Array, weights: Array) -> Array:
    """Return the weighted mean of the parts, in ppm; both are integers."""
    total: Array = weights @ parts // weights.sum()
    return total


def add_coincidence(ground: Ground, verdicts: Verdicts, chosen: Array) -> None:
    """Fill in the part ``coincidence`` of the chosen candidates, from aligned histories.

    It is 1 - dP / P, where P is the demand's peak at the tightest node and dP what the
    highest second of the last ten minutes there would have risen by on average, had the
    demand drawn either P or nothing, each second by chance, so that its mean is right.
    """
    tightest = np.where(
        verdicts.tightest[chosen] == ground.ways.nowhere,
        ground.outlook.topology.hosts[verdicts.rows[chosen]],
        verdicts.tightest[chosen],
    )
    share = np.where(verdicts.tightest[chosen] == ground.ways.nowhere, 1.0, verdicts.share[chosen])
    positions, back = np.unique(tightest, return_inverse=True)
    gaps = highest_gaps(ground.outlook.history(positions))[back]
    peak = verdicts.peak_mw[chosen] * share
    duty = verdicts.mean_mw[chosen] / verdicts.peak_mw[chosen]
    rise = expected_rise(gaps, peak, duty)
    verdicts.parts[_COINCIDENCE, chosen] = _ppm(1.0 - rise / np.maximum(peak, _ROUND_MW))


def highest_gaps(history_mw: Array) -> Array:
    """Return per row by how much each of its highest seconds lies below the highest of them."""
    # A whole sort: single floats sort as fast as they partition, and equal ones faster.
    high = np.sort(history_mw, axis=1)[:, -HIGHEST_S:].astype(np.float64)
    gaps: Array = high[:, -1:] - high[:, ::-1]
    return gaps


def expected_rise(gaps_mw: Array, peak_mw: Array, duty: Array) -> Array:
    """Return the mean rise of a sum's highest second by a load that is up for ``duty`` of the time.

    The highest second of the new sum is, unless all are lower than the old one, the first
    in falling order at which the load is up: the k-th with probability duty (1 - duty)^k.
    """
    rise = np.maximum(peak_mw[:, np.newaxis] - gaps_mw, 0.0)
    down = (1.0 - duty)[:, np.newaxis] ** np.arange(gaps_mw.shape[1])
    mean: Array = (duty[:, np.newaxis] * down * rise).sum(axis=1)
    mean += (1.0 - duty) ** gaps_mw.shape[1] * rise[:, -1]
    return mean


def _tightest(ground: Ground, rows: Array, peak_mw: Array) -> tuple[Array, Array, Array, Array]:
    """Return where a demand leaves the least, its share there, what it leaves, least margin."""
    ways = ground.ways
    hosts = ground.outlook.topology.hosts[rows]
    best = np.empty((4, len(rows)))
    for power in np.unique(peak_mw).tolist():
        at = np.flatnonzero(peak_mw == power)
        of_group = ways.group[rows[at]]
        groups, back = np.arange(len(ways.ancestors)), of_group
        if len(at) < len(groups):
            groups, back = of_group, np.arange(len(at))
        ancestors, shares = ways.ancestors[groups], ways.shares[groups]
        after = ground.free_mw[ancestors] - shares * power
        margin = (after / ground.moment.whole_mw[ancestors]).min(axis=1)
        least = np.argmin(after, axis=1)
        each = np.arange(len(groups))
        found = (ancestors[each, least], shares[each, least], after[each, least], margin)
        for row, values in enumerate(found):
            best[row, at] = values[back]
    own_after = ground.free_mw[hosts] - peak_mw
    own_margin = own_after / ground.moment.whole_mw[hosts]
    own = own_after <= best[2]
    tightest = np.where(own, hosts, best[0].astype(np.int64))
    tightest = np.where(np.isinf(np.minimum(own_after, best[2])), ways.nowhere, tightest)
    share = np.where(own, 1.0, best[1])
    after_mw = np.floor(np.minimum(own_after, best[2]) + _ROUND_MW)
    return tightest, share, after_mw, np.minimum(own_margin, best[3])


def _swing_mw(shape: DemandShape) -> float:
    return (peak_of(shape) - mean_of(shape)) * _SWING_SHARE[shape.swing_class]


def _least_first(cost: Array) -> Array:
    """Return the least cost over each cost: 1 for the best; NaN where a cost is unknown."""
    known = cost[~np.isnan(cost)]
    least = known.min() if len(known) else np.nan
    part: Array = np.where(cost > 0.0, least / np.where(cost > 0.0, cost, 1.0), 1.0)
    return np.where(np.isnan(cost), np.nan, part)


def _ppm(part: Array) -> Array:
    whole: Array = np.floor(np.clip(np.nan_to_num(part, nan=0.0), 0.0, 1.0) * WHOLE_PPM)
    return whole.astype(np.int64)
