"""Who tries to read the secret: three attackers, and what their best one gets right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from scipy.stats import beta
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bench.leakage.traces import Array

CONFIDENCE: Final = 0.95


class Classifier(Protocol):
    """What scikit-learn's classifiers have in common."""

    def fit(self, features: Array, bits: Array) -> object: ...
    def predict_proba(self, features: Array) -> Array: ...


@dataclass(frozen=True, slots=True)
class Score:
    """What the best of the attackers got right on traces that it had never seen."""

    attacker: str
    right: int
    of: int
    auc: float
    bayes_risk: float
    """Error of the nearest neighbours, which tends to the least possible one."""
    mutual_bits: float

    @property
    def accuracy(self) -> float:
        return self.right / self.of

    def bounds(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Return the two-sided Clopper-Pearson bounds of the accuracy."""
        tail = (1 - confidence) / 2
        low = beta.ppf(tail, self.right, self.of - self.right + 1) if self.right else 0.0
        is_all = self.right == self.of
        high = 1.0 if is_all else beta.ppf(1 - tail, self.right + 1, self.of - self.right)
        return float(low), float(high)


def attackers(count: int) -> dict[str, Classifier]:
    """Return the attackers, made for ``count`` traces to learn from."""
    nearest = KNeighborsClassifier(max(1, round(count**0.5)))
    return {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, C=0.1)),
        "boosting": HistGradientBoostingClassifier(
            max_iter=60, max_leaf_nodes=15, early_stopping=False, random_state=0
        ),
        "nearest": make_pipeline(StandardScaler(), nearest),
    }


def attack(learn: tuple[Array, Array], test: tuple[Array, Array]) -> Score:
    """Return the score of whichever attacker does best on ``test`` (features, bits).

    The best is chosen by its score on the test itself, which flatters it: a gate that
    holds then holds the more.
    """
    chances = {}
    for name, attacker in attackers(len(learn[1])).items():
        attacker.fit(*learn)
        chances[name] = attacker.predict_proba(test[0])[:, 1]
    return judged(chances, test[1])


def judged(chances: dict[str, Array], bits: Array) -> Score:
    """Return the best score of attackers that gave each test trace a chance of being a one."""
    right = {name: int(((chance > 0.5) == bits).sum()) for name, chance in chances.items()}
    best = max(right, key=lambda name: right[name])
    guesses = (chances[best] > 0.5).astype(int)
    return Score(
        best,
        right[best],
        len(bits),
        float(roc_auc_score(bits, chances[best])),
        1 - right["nearest"] / len(bits),
        float(mutual_info_score(bits, guesses) / np.log(2)),
    )


def repeated(learn: tuple[Array, Array], test: tuple[Array, Array]) -> Score:
    """Return the score against groups (group, window, field) whose windows share one secret.

    The attacker learns from the single windows of half the groups, adds up its evidence
    over a group, and learns from the rest what the sums and the groups' moments mean.
    """
    half = len(learn[1]) // 2
    order = np.random.default_rng(0).permutation(len(learn[1]))
    groups, bits = learn[0][order], learn[1][order]
    times = groups.shape[1]
    single = groups[:half].reshape(-1, groups.shape[2]), np.repeat(bits[:half], times)
    parts = [_moments(groups[half:])], [_moments(test[0])]
    for attacker in attackers(len(single[1])).values():
        attacker.fit(*single)
        for some, into in zip((groups[half:], test[0]), parts, strict=True):
            chance = attacker.predict_proba(some.reshape(-1, some.shape[2]))[:, 1]
            sure = np.clip(chance, 1e-3, 1 - 1e-3)
            into.append(np.log(sure / (1 - sure)).reshape(len(some), times).sum(1)[:, None])
    of_learn, of_test = (np.hstack(part) for part in parts)
    return attack((of_learn, bits[half:]), (of_test, test[1]))


def grouped(features: Array, bits: Array, times: int) -> tuple[Array, Array]:
    """Return windows in groups of one secret, and the secret of each group."""
    groups, whose = [], []
    for bit in (0, 1):
        mine = features[bits == bit]
        count = len(mine) // times
        groups.append(mine[: count * times].reshape(count, times, -1))
        whose.append(np.full(count, bit))
    return np.concatenate(groups), np.concatenate(whose)


def _moments(groups: Array) -> Array:
    return np.hstack([groups.mean(1), groups.std(1)])
