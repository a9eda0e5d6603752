"""How well forecasts have held, as it may leave the collector: never of a few hosts alone.

Coverage and loss are means over seven days. Two of them a minute apart give, exactly, by how much
the peaks of that minute were off: of one host that is a trace of its power.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from chipwatt.collector.egress.config import Tier
from chipwatt.collector.forecast.contract import Calibration
from chipwatt.collector.placement.crowds import CROWD, hosts_behind

if TYPE_CHECKING:
    from chipwatt.collector.placement.outlooks import Outlooks

DIGITS: Final = 4
"""Of a share. A mean over thousands of peaks then does not move with each of them."""


def told_quality(outlooks: Outlooks, tier: Tier) -> list[Calibration]:
    """Return how every predictor has held, for whom ``tier`` is."""
    found = outlooks.calibrations()
    if tier is Tier.OPERATOR or not found:
        return found
    return of_many(found, hosts_behind(outlooks.latest()))


def of_many(calibrations: Iterable[Calibration], hosts: Counter[int]) -> list[Calibration]:
    """Return, rounded, those of kinds of nodes with at least ``CROWD`` behind them."""
    return [
        replace(one, coverage=round(one.coverage, DIGITS), pinball=round(one.pinball, DIGITS))
        for one in calibrations
        if hosts[one.kind] >= CROWD
    ]
