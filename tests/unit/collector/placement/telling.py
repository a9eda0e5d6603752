"""Everything that an outlook tells of power, for who looks whether it changes."""

from __future__ import annotations

import numpy as np

from chipwatt.collector.placement.minute_hold import LAG_S
from chipwatt.collector.placement.outlook import Outlook
from unit.collector.placement.fleet import HOSTS, W

NODES = ("site", "r0", "r1", *(f"h{number}" for number in range(HOSTS)))
ASKED = (600, 0.99)
FINAL_S = LAG_S - 1
"""Second of a minute in which the one before it is final."""


def of(outlook: Outlook, names: tuple[str, ...]) -> list[int]:
    return [outlook.topology.index[name] for name in names]


def told(outlook: Outlook, names: tuple[str, ...] = NODES) -> list[list[float]]:
    """Return every power that an outlook tells of these nodes."""
    at = np.array(of(outlook, names))
    found = [outlook.now_mw[at], outlook.mean_mw[at], outlook.peak_1s_mw[at]]
    for horizon_s in (60, 600, 3_600):
        for watts in (150, 200, 290, 600, 900, 1_190):
            limit_mw = np.full(len(outlook.topology.nodes), float(watts * W))
            found.append(outlook.exceed_ppm(horizon_s, limit_mw)[at])
        for quantile in (0.5, 0.77, 0.9, 0.99, 0.999):
            prediction = outlook.prediction(horizon_s, quantile)
            found += [prediction.peak_mw[at], prediction.base_mw[at], prediction.margin_mw[at]]
            found += [prediction.template_mw[at], prediction.predictor[at], prediction.scores[at]]
            coverage = [outlook.trust(p, horizon_s, quantile).coverage_7d_ppm for p in at]
            found.append(np.array(coverage))
    history, settled = outlook.history(at), outlook.settled_mw(at, 11)
    return [*(column.tolist() for column in found), *history.tolist(), *settled.tolist()]
