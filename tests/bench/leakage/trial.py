"""One secret against every reader: traces made, shown through each channel, and attacked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from bench.leakage import channels, reduced
from bench.leakage.attackers import Score, attack, grouped, repeated
from bench.leakage.headroom import headroom, host_seconds
from bench.leakage.traces import FIRST, Array, Family, Secret, traces
from chipwatt.collector.egress.noise import discrete_laplace

RAW, SECONDS, TENS, EXACT = "raw 1 kHz", "1 s means", "10 s hist", "60 s exact"
PLACEMENT, HEADROOM, SWING, DP = "placement", "headroom", "with swing", "dp"
CHANNELS: Final = (RAW, SECONDS, TENS, EXACT, PLACEMENT, HEADROOM, DP)
TIMES: Final = 20
_SHOWN: Final[Mapping[str, Callable[[Array], Array]]] = {
    RAW: channels.raw,
    SECONDS: channels.seconds,
    TENS: channels.tens,
    EXACT: channels.exact,
    PLACEMENT: reduced.placement,
    HEADROOM: host_seconds,
    SWING: partial(reduced.placement, with_swing=True),
}
Pair = tuple[Array, Array]
"""Features and secrets."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many traces."""

    learn: int
    test: int
    learn_groups: int = 0
    """Of ``TIMES`` windows with the same secret."""
    test_groups: int = 0


def trial(
    secret: Secret, shown: Sequence[str], size: Size, family: Family = FIRST
) -> dict[str, Score]:
    """Return what the best attacker gets right through each of the channels."""
    wanted = [name for name in shown if name != DP]
    if DP in shown and PLACEMENT not in wanted:
        wanted.append(PLACEMENT)
    learn = seen(secret, wanted, size.learn, 1, family)
    test = seen(secret, wanted, size.test, 2, family)
    if DP in shown:
        noise = discrete_laplace()
        for part in (learn, test):
            features, bits = part[PLACEMENT]
            part[DP] = (reduced.dp_single(features, noise), bits)
    return {name: attack(learn[name], test[name]) for name in shown}


def again(secret: Secret, size: Size) -> dict[str, Score]:
    """Return the same for a secret that is ``TIMES`` times the same, but for what shows all."""
    noise = discrete_laplace()
    pairs: list[dict[str, Pair]] = []
    for seed, count in ((3, size.learn_groups), (4, size.test_groups)):
        shown = seen(secret, [PLACEMENT, HEADROOM], count * TIMES, seed, FIRST)
        pair = {name: grouped(*shown[name], TIMES) for name in shown}
        groups, whose = pair[PLACEMENT]
        pairs.append(pair | {DP: (reduced.dp_groups(groups, noise), whose)})
    learn, test = pairs
    return {name: repeated(learn[name], test[name]) for name in learn}


def shifted(secret: Secret, size: Size, other: Family) -> dict[str, Score]:
    """Return what attackers that learned of one family, and of both, get right of another."""
    own = seen(secret, [PLACEMENT], size.learn, 1, FIRST)[PLACEMENT]
    theirs = seen(secret, [PLACEMENT], size.learn, 5, other)[PLACEMENT]
    test = seen(secret, [PLACEMENT], size.test, 6, other)[PLACEMENT]
    both = tuple(np.concatenate(pair) for pair in zip(own, theirs, strict=True))
    return {
        "learned from another": attack(own, test),
        "learned from both": attack((both[0], both[1]), test),
    }


def seen(
    secret: Secret, shown: Sequence[str], count: int, seed: int, family: Family
) -> dict[str, Pair]:
    """Return what each channel shows of ``count`` traces."""
    rows: dict[str, list[Array]] = {name: [] for name in shown}
    bits = []
    for power_mw, of_traces in traces(secret, count, seed, family):
        bits.append(of_traces)
        for name, into in rows.items():
            into.append(_SHOWN[name](power_mw))
    whose = np.concatenate(bits)
    found = {name: (np.concatenate(parts), whose) for name, parts in rows.items()}
    if HEADROOM in found:
        found[HEADROOM] = (headroom(found[HEADROOM][0]), whose)
    return found
