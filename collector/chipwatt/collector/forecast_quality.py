"""How well forecasts have held, as it may leave the collector: never of a few hosts alone.

Coverage and loss are means over seven days. Two of them a minute apart give, exactly, by how much
the peaks of that minute were off: of one host that is a trace of its power.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from chipwatt.collector.egress.config import Tier
from chipwatt.collector.forecast.contract import KINDS, LEAST_HOSTS, Calibration
from chipwatt.core.clock import NS_PER_S

if TYPE_CHECKING:
    from chipwatt.collector.placement.outlook import Outlook
    from chipwatt.collector.placement.outlooks import Outlooks

DIGITS: Final = 4
"""Of a share. A mean over thousands of peaks then does not move with each of them."""
_HEARD_S = 60


def told_quality(outlooks: Outlooks, tier: Tier) -> list[Calibration]:
    """Return how every predictor has held, for whom ``tier`` is."""
    found = outlooks.calibrations()
    if tier is Tier.OPERATOR or not found:
        return found
    return of_many(found, hosts_behind(outlooks.latest()))


def of_many(calibrations: Iterable[Calibration], hosts: Counter[int]) -> list[Calibration]:
    """Return, rounded, those of kinds of nodes with at least ``LEAST_HOSTS`` behind them."""
    return [
        replace(one, coverage=round(one.coverage, DIGITS), pinball=round(one.pinball, DIGITS))
        for one in calibrations
        if hosts[one.kind] >= LEAST_HOSTS
    ]


def hosts_behind(outlook: Outlook) -> Counter[int]:
    """Return by kind of node how many hosts are in its sums.

    A node's peaks count only while all of its hosts are heard from.
    """
    topology, now_s = outlook.topology, outlook.as_of_unix_ns // NS_PER_S
    heard = outlook.newest_s[topology.hosts] > now_s - _HEARD_S
    above, beneath = topology.above, topology.beneath
    whole = (np.bincount(above, ~heard[beneath], len(topology.nodes)) == 0)[above]
    kinds = np.array([node.kind for node in topology.nodes], np.int64)[above]
    behind = np.zeros((KINDS, len(topology.hosts)), dtype=bool)
    behind[kinds[whole], beneath[whole]] = True
    hosts = behind.sum(axis=1)
    return Counter({kind: int(hosts[kind]) for kind in np.flatnonzero(hosts).tolist()})
