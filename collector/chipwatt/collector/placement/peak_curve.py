"""The peak of one power node in parts, and at coarser resolutions than it is predicted at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chipwatt.collector.forecast.contract import Predictor
from chipwatt.collector.placement.outlook import Outlook

RESOLUTIONS_S = (1, 10, 60, 300)


@dataclass(frozen=True, slots=True)
class PeakCurve:
    """Peaks of one node over a horizon, in the order of the quantiles asked for; mW."""

    peaks_mw: tuple[int, ...]
    mean_mw: int
    peak_second: int
    """When the time of day usually peaks, since 1970; 0: unknown."""
    base_mw: int
    time_of_day_mw: int
    margin_mw: int
    """With the two before it the first peak, before that was held between its bounds."""


def peak_curve(
    outlook: Outlook, position: int, horizon_s: int, quantiles: Sequence[float], resolution_s: int
) -> PeakCurve:
    """Return the curve of one node.

    Predicted are in-bin peaks, which bound the mean of any second. Means of longer bins
    rise less above the mean: by as much less as they did in the last ten minutes.
    """
    mean_mw = float(outlook.mean_mw[position])
    part = _rise_kept(outlook, position, resolution_s)
    peaks = []
    for quantile in quantiles:
        peak_mw = float(outlook.peak_mw(horizon_s, quantile)[position])
        lower_mw = mean_mw + (peak_mw - mean_mw) * part
        peaks.append(int(np.ceil(min(peak_mw, lower_mw) if peak_mw > mean_mw else peak_mw)))
    first = outlook.prediction(horizon_s, quantiles[0])
    if Predictor(first.predictor[position]).has_scores:
        base_mw = round(float(first.base_mw[position] + first.assumed_mw[position]))
        template_mw = round(float(first.template_mw[position]))
        margin_mw = round(float(first.margin_mw[position]))
    else:
        base_mw, template_mw = round(mean_mw), 0
        margin_mw = int(first.peak_mw[position]) - base_mw
    return PeakCurve(
        peaks_mw=tuple(peaks),
        mean_mw=round(mean_mw),
        peak_second=outlook.peak_second(position, horizon_s),
        base_mw=base_mw,
        time_of_day_mw=template_mw,
        margin_mw=margin_mw,
    )


def _rise_kept(outlook: Outlook, position: int, resolution_s: int) -> float:
    """Return the share of the rise above the mean that the highest longer bin kept; 1 for 1 s."""
    if resolution_s == 1:
        return 1.0
    seconds = outlook.history(np.array([position]))[0].astype(np.float64)
    mean = seconds.mean()
    rise = seconds.max() - mean
    longer = seconds.reshape(-1, resolution_s).mean(axis=1).max() - mean
    return float(np.clip(longer / rise, 0.0, 1.0)) if rise > 0 else 1.0
