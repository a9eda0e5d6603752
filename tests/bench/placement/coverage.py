"""E1: whether the quantile means what it says on the shipped LLM data, and what it costs.

Peaks of the next sixty seconds at 1 s, judged every ten seconds after ten minutes.
Settings of the forecast were chosen on fleets of seeds 0 to 3, from the whole recorded
hour and from its even twelfths. Judged are other seeds: from the whole hour, as the
reference has it, and from the odd twelfths alone. A prediction knows its past only.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from bench.placement.judge import (
    BY_THE_MINUTE,
    Group,
    best_classic,
    grouped,
    judged,
    mean_scores,
    table,
)
from bench.placement.llm_fleet import CHIPS, SHARES, Part, servers
from bench.placement.outcome import Outcome
from chipwatt.collector.forecast.contract import Predictor
from chipwatt.core.tables import Array

SEEDS = {Part.ALL: (11, 12, 13, 14), Part.ODD: (15, 16, 17)}
SERVERS = 480
SIZES = {"host": 1, "rack-8": 8, "row-40": 40}
HORIZON_S = 60
BAND = (0.985, 0.995)
MOST_LOSS = 0.9
_LOSS_BOUND = ("rack-8", "row-40")
_OURS = Predictor.CONFORMAL.name


def run(hours: int = 1, count: int = SERVERS) -> Outcome:
    """Print a table a service, stretch and level."""
    outcome = Outcome()
    for service, part in product(SHARES, SEEDS):
        runs = []
        for seed in SEEDS[part]:
            power = servers(service, count, seed, hours, part)
            runs.append(judged(power, levels(power), HORIZON_S))
        for group, scores in mean_scores(runs).items():
            name = f"{service} {group}" + (" odd" if part is Part.ODD else "")
            rule, loss = best_classic(scores)
            ratio = scores[_OURS].loss / loss
            by_seed = [one[group][_OURS].loss / one[group][rule].loss for one in runs]
            print(table(name, scores))
            seeds = ", ".join(f"{value:.2f}" for value in by_seed)
            print(f"  ours {ratio:.3f} of {rule.lower()}, the best rule (by seed {seeds})\n")
            _judge(outcome, name, group, scores[_OURS].coverage, ratio)
            shown = scores[BY_THE_MINUTE]
            _judge_shown(outcome, name, shown.coverage, shown.over / scores[_OURS].over)
    return outcome


def levels(power: Array) -> list[Group]:
    """Return one chip of every host, the hosts, racks and rows.

    The other seven chips of a host do as the one does, so that a chip and its host differ
    in their ratings alone.
    """
    hosts, *sums = grouped(power, SIZES)
    chips = Group("chip", len(SIZES) + 1, 1, power / CHIPS, 1 / CHIPS)
    return [chips, hosts, *sums]


def _judge(outcome: Outcome, name: str, group: str, coverage: float, ratio: float) -> None:
    highest = 1.0 if group == "row-40" else BAND[1]
    inside = BAND[0] <= coverage <= highest
    outcome.bound(
        holds=inside, complaint=f"{name}: coverage {coverage:.4f} outside {BAND[0]} to {highest}"
    )
    outcome.figures[f"{name} coverage"] = round(coverage, 4)
    if group in _LOSS_BOUND:
        complaint = f"{name}: pinball {ratio:.3f} of the best rule's, more than {MOST_LOSS}"
        outcome.bound(holds=ratio <= MOST_LOSS, complaint=complaint)
        outcome.figures[f"{name} pinball to best rule"] = round(ratio, 3)


def _judge_shown(outcome: Outcome, name: str, coverage: float, over: float) -> None:
    """Steps and the age of what is held may promise less, not more."""
    held = coverage >= BAND[0]
    outcome.bound(holds=held, complaint=f"{name} by the minute: {coverage:.4f} below {BAND[0]}")
    outcome.figures[f"{name} coverage by the minute"] = round(coverage, 4)
    outcome.figures[f"{name} peak by the minute to by the second"] = round(over, 3)


def run_own(names: list[str], power: Array, nameplate: float, horizon_s: int) -> Outcome:
    """Print the same of an operator's own nodes, a row each, and of their sum; nothing is bound."""
    outcome = Outcome()
    share = power / nameplate
    whole = Group("sum of all", 2, len(share), share.sum(axis=0, keepdims=True), float(len(share)))
    scores = judged(share, [Group("node", 1, 1, share, 1.0), whole], horizon_s)
    print(f"{len(names)} nodes, {share.shape[1]} s, nameplate {nameplate:.0f} W each")
    for group, rows in scores.items():
        rule, loss = best_classic(rows)
        print(table(group, rows))
        ratio = rows[_OURS].loss / max(loss, np.finfo(float).tiny)
        print(f"  ours {ratio:.3f} of {rule.lower()}, the best rule")
        outcome.figures[f"{group} coverage"] = round(rows[_OURS].coverage, 4)
        outcome.figures[f"{group} pinball to best rule"] = round(ratio, 3)
    return outcome
