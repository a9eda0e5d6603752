"""The rules that data centres use today, behind one call: what each says a node's peak will be."""

from __future__ import annotations

import numpy as np

from chipwatt.collector.forecast.contract import Predictor
from chipwatt.collector.forecast.nodes import EVERY, Nodes, Which
from chipwatt.collector.forecast.recent import Recent
from chipwatt.core.tables import Array

CLASSIC = tuple(p for p in Predictor if not p.has_scores)


def classic_mw(predictor: Predictor, nodes: Nodes, recent: Recent, which: Which = EVERY) -> Array:
    """Return a rule's peak per node; NaN where it has nothing to say.

    RC-like and N-sigma are held at the nameplate, as Borg holds them at the limit.
    Raises ValueError for the predictor that is none of them.
    """
    nameplate, assumed = nodes.nameplate_mw[which], nodes.assumed_mw[which]
    peak: Array
    match predictor:
        case Predictor.NAMEPLATE:
            peak = nameplate.copy()
        case Predictor.NAMEPLATE_90:
            peak = 0.9 * nameplate
        case Predictor.RC_LIKE:
            peak = np.minimum(nodes.rc_like_mw[which], nameplate)
        case Predictor.N_SIGMA:
            peak = np.minimum(recent.n_sigma_mw(which) + assumed, nameplate)
        case Predictor.RECENT_MAX:
            peak = recent.highest_mw(which) + assumed
        case _:
            raise ValueError(f"{predictor.name} is no classic rule")
    return peak
