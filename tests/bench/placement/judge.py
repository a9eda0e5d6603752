"""Predict over recorded series and judge by what came: coverage, loss, every rule beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from chipwatt.collector.forecast.classic import CLASSIC
from chipwatt.collector.forecast.contract import ForecastConfig, NodeSpec, Predictor
from chipwatt.collector.forecast.forecaster import Forecaster
from chipwatt.collector.forecast.horizon import MINUTES, minute_base
from chipwatt.collector.forecast.sight import Seen
from chipwatt.collector.placement.minute_hold import LAG_S, MINUTE_S, chances, step_above
from chipwatt.core.coarse import STEPS_AT_LIMIT
from chipwatt.core.tables import Array

START_S = 1_800_000_000
MW = 1e6
"""A server's rating in mW: one kilowatt."""
QUANTILE = 0.99
WARM_S = 600
_RC_EVERY_S = 60
_ORIGIN_S = 10
BY_THE_MINUTE = Predictor.BY_THE_MINUTE.name
"""What schedulers are shown, made of minutes that ended up to 75 s ago."""
ORACLES = ("oracle, a node", "oracle, all")


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes of one kind: sums of so many servers each, as shares of one server's rating.

    Or a part of one server each, where the rating is below 1.
    """

    name: str
    kind: int
    members: int
    power: Array
    rating: float
    """Nameplate, in servers."""


def grouped(servers: Array, sizes: Mapping[str, int]) -> list[Group]:
    """Sum servers into groups of each size, leaving out what does not fill one."""
    groups = []
    for place, (name, size) in enumerate(sizes.items()):
        count = len(servers) // size
        power = servers[: count * size].reshape(count, size, -1).sum(axis=1)
        groups.append(Group(name, place + 1, size, power, float(size)))
    return groups


@dataclass(frozen=True, slots=True)
class Score:
    """One predictor on one group."""

    coverage: float
    over: float
    """Mean of prediction over peak."""
    loss: float
    """Mean pinball loss, thousandths of the rating."""
    windows: int


def pinball(peak: Array, predicted: Array, quantile: float = QUANTILE) -> Array:
    """Return the loss that a quantile minimises."""
    off = peak - predicted
    loss: Array = np.maximum(quantile * off, (quantile - 1.0) * off)
    return loss


def rc_like(servers: Array, groups: Sequence[Group], second: int) -> Array:
    """Return per node the sum of its servers' 99th percentiles over the last ten minutes."""
    high = np.quantile(servers[:, max(0, second - WARM_S) : second + 1], 0.99, axis=1)
    parts = [
        high[: len(g.power) * g.members].reshape(len(g.power), g.members).mean(axis=1) * g.rating
        for g in groups
    ]
    return np.concatenate(parts) * MW


def nodes_of(groups: Sequence[Group]) -> list[NodeSpec]:
    """Return a power node a series."""
    return [
        NodeSpec(f"{g.name}/{n}", g.kind, "", g.rating * MW, g.rating * MW)
        for g in groups
        for n in range(len(g.power))
    ]


def predictions(
    servers: Array, groups: Sequence[Group], horizon_s: int
) -> tuple[Array, dict[str, Array]]:
    """Return the origins and what every rule said there; shares of one server's rating."""
    forecaster = Forecaster(nodes_of(groups), ForecastConfig((horizon_s,), lag_s=0))
    sums = np.concatenate([g.power for g in groups]).astype(np.float64) * MW
    seconds = sums.shape[1]
    said: dict[str, list[Array]] = {rule: [] for rule in Predictor.__members__}
    nameplate = np.concatenate([np.full(len(g.power), g.rating * MW) for g in groups])
    held = nameplate
    origins = []
    for second in range(seconds - horizon_s):
        high = None
        if second % _RC_EVERY_S == 0 and second >= WARM_S // 2:
            high = rc_like(servers, groups, second)
        forecaster.step(START_S + second, sums[:, second], sums[:, second], high)
        if second >= WARM_S and (second + 1 - LAG_S) % MINUTE_S == 0:
            end = second + 1 - LAG_S
            held = by_the_minute(forecaster, minutes_of(groups, servers, end), nameplate, horizon_s)
        if second >= WARM_S and second % _ORIGIN_S == 0:
            origins.append(second)
            for rule in CLASSIC:
                said[rule.name].append(forecaster.classic(rule) / MW)
            ours = forecaster.predict(horizon_s, QUANTILE).peak_mw
            said[Predictor.CONFORMAL.name].append(ours / MW)
            said[BY_THE_MINUTE].append(held / MW)
    return np.array(origins), {rule: np.stack(rows, axis=1) for rule, rows in said.items() if rows}


def by_the_minute(
    forecaster: Forecaster, minutes_mw: Array, nameplate_mw: Array, horizon_s: int
) -> Array:
    """Return what is shown until the next minute is final, as ships; steps are a server's."""
    step_mw = np.array(MW / STEPS_AT_LIMIT)
    base_mw = minute_base(minutes_mw.T)
    rule = np.full(len(base_mw), int(Predictor.NAMEPLATE))
    seen = Seen(base_mw, np.maximum(base_mw, nameplate_mw), rule)
    shown = forecaster.sight(horizon_s).predict_on(seen, QUANTILE)
    return step_above(shown.peak_mw, step_mw)


def minutes_of(groups: Sequence[Group], servers: Array, second: int) -> Array:
    """Return the last whole minutes of every node, as sums of servers' roundings; mW."""
    seconds = servers[:, second - MINUTES * MINUTE_S : second].astype(np.float64) * MW
    means = seconds.reshape(len(servers), MINUTES, MINUTE_S).mean(axis=2)
    step_mw = MW / STEPS_AT_LIMIT
    names = [str(number) for number in range(len(servers))]
    shown = np.floor(means / step_mw + chances(bytes(16), names, second // MINUTE_S)) * step_mw
    parts = [
        shown[: len(g.power) * g.members].reshape(len(g.power), g.members, MINUTES).sum(axis=1)
        * (g.rating / g.members)
        for g in groups
    ]
    return np.concatenate(parts)


def judged(servers: Array, groups: Sequence[Group], horizon_s: int) -> dict[str, dict[str, Score]]:
    """Return by group and predictor how the predictions held.

    Two oracles mark what can be had: the best constant a node, and the best one for all,
    both chosen after the fact.
    """
    origins, said = predictions(servers, groups, horizon_s)
    scores: dict[str, dict[str, Score]] = {}
    first = 0
    for group in groups:
        rows = slice(first, first + len(group.power))
        first += len(group.power)
        windows = sliding_window_view(group.power, horizon_s, axis=1)
        peak = windows[:, origins + 1].max(axis=2).astype(np.float64)
        by_rule = {name: predicted[rows] for name, predicted in said.items()}
        by_rule[ORACLES[0]] = np.quantile(peak, QUANTILE, axis=1, keepdims=True) + 0 * peak
        by_rule[ORACLES[1]] = np.full_like(peak, np.quantile(peak, QUANTILE))
        scores[group.name] = {
            name: Score(
                float((peak <= predicted * (1 + 1e-6)).mean()),
                float((predicted / peak).mean()),
                float(pinball(peak, predicted).mean() / group.rating * 1e3),
                peak.size,
            )
            for name, predicted in by_rule.items()
        }
    return scores


def mean_scores(runs: Sequence[dict[str, dict[str, Score]]]) -> dict[str, dict[str, Score]]:
    """Return the mean over runs of equal size."""
    return {
        group: {
            name: Score(
                float(np.mean([run[group][name].coverage for run in runs])),
                float(np.mean([run[group][name].over for run in runs])),
                float(np.mean([run[group][name].loss for run in runs])),
                sum(run[group][name].windows for run in runs),
            )
            for name in runs[0][group]
        }
        for group in runs[0]
    }


def best_classic(scores: Mapping[str, Score]) -> tuple[str, float]:
    """Return the classic rule with the least loss, and that loss."""
    name = min((p.name for p in CLASSIC), key=lambda rule: scores[rule].loss)
    return name, scores[name].loss


def table(title: str, scores: Mapping[str, Score]) -> str:
    """Return the figures of one group in words."""
    lines = [f"{title:<24} coverage %  pred/peak  pinball x1e3"]
    lines += [
        f"  {name.lower():<22} {100 * s.coverage:9.2f}  {s.over:9.2f}  {s.loss:12.2f}"
        for name, s in scores.items()
    ]
    return "\n".join(lines)
