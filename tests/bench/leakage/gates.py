"""What must hold of the attackers' scores, and how it is printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.leakage.attackers import Score
from bench.leakage.traces import (
    AMONG_8,
    AMONG_30,
    CADENCE,
    LONE,
    OUTPUT,
    PURPOSE,
    SECRETS,
    TIMING,
)
from bench.leakage.trial import CHANNELS, DP, HEADROOM, PLACEMENT, RAW

CONTROL: Final = 0.95
GROSS: Final = 0.999
"""Confidence with which the quick form must know that a gate is broken before it says so."""
_MOST: Final = {
    **{(who, secret.name): 0.55 for secret in (TIMING, CADENCE) for who in (PLACEMENT, HEADROOM)},
    **{(who, secret.name): 0.58 for secret in (AMONG_30, AMONG_8) for who in (PLACEMENT, HEADROOM)},
    **{(DP, secret.name): 0.55 for secret in (TIMING, AMONG_30, AMONG_8, LONE, CADENCE)},
}
"""Upper bound of an attacker's accuracy, by channel and secret; others are published only."""
_MOST_AGAIN: Final = {(DP, secret.name): 0.60 for secret in (AMONG_30, AMONG_8, LONE)}
Scores = Mapping[str, Mapping[str, Score]]
"""By secret and channel."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One bound, and whether it held."""

    name: str
    bound: str
    held: bool


def gates(single: Scores, again: Scores, *, is_quick: bool) -> Iterator[Gate]:
    """Yield every gate of the scores that there are.

    In the quick form, whose few traces bound little, a gate is broken only where the
    accuracy is beyond it with confidence ``GROSS``.
    """
    for name, scores in single.items():
        if RAW in scores:
            yield _least(f"control, {RAW}: {name}", scores[RAW], is_quick=is_quick)
    for channel, scored in ((PLACEMENT, single), (DP, again)):
        score = scored.get(PURPOSE.name, {}).get(channel)
        if score is not None:
            yield _least(f"use, {channel}", score, is_quick=is_quick)
    for most, scored, what in ((_MOST, single, ""), (_MOST_AGAIN, again, " again and again")):
        for (channel, name), bound in most.items():
            score = scored.get(name, {}).get(channel)
            if score is not None:
                yield _most(f"{channel}: {name}{what}", score, bound, is_quick=is_quick)


def _least(name: str, score: Score, *, is_quick: bool) -> Gate:
    low, high = score.bounds(GROSS) if is_quick else score.bounds()
    reached = high if is_quick else low
    return Gate(name, f"{reached:.3f} >= {CONTROL}", reached >= CONTROL)


def _most(name: str, score: Score, bound: float, *, is_quick: bool) -> Gate:
    low, high = score.bounds(GROSS) if is_quick else score.bounds()
    reached = low if is_quick else high
    return Gate(name, f"{reached:.3f} <= {bound}", reached <= bound)


def table(single: Scores, again: Scores) -> Iterator[str]:
    """Yield the lines of the table: accuracy (lower to upper bound) of the best attacker."""
    yield "| hidden fact | " + " | ".join(CHANNELS) + " |"
    yield "| --- |" + " --- |" * len(CHANNELS)
    for secret in (*SECRETS, PURPOSE):
        yield _line(secret.name, single.get(secret.name, {}), CHANNELS)
    for secret in (AMONG_30, AMONG_8, LONE, OUTPUT, PURPOSE):
        scores = again.get(secret.name)
        if scores:
            yield _line(f"20 times: {secret.name}", scores, CHANNELS)


def details(single: Scores) -> Iterator[str]:
    """Yield what else is known of each attack on the two tiers."""
    yield "| hidden fact | tier | attacker | AUC | Bayes risk | mutual information, bits |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, scores in single.items():
        for channel in (PLACEMENT, HEADROOM, DP):
            score = scores.get(channel)
            if score is not None:
                yield (
                    f"| {name} | {channel} | {score.attacker} | {score.auc:.3f} |"
                    f" {score.bayes_risk:.3f} | {score.mutual_bits:.4f} |"
                )


def _line(name: str, scores: Mapping[str, Score], shown: Sequence[str]) -> str:
    cells = [_cell(scores[channel]) if channel in scores else "-" for channel in shown]
    return f"| {name} | " + " | ".join(cells) + " |"


def _cell(score: Score) -> str:
    low, high = score.bounds()
    return f"{score.accuracy:.3f} ({low:.3f}-{high:.3f})"
