"""The attack harness: that it sees what is there, and that its gates close."""

from __future__ import annotations

import numpy as np
import pytest

from bench.leakage.attackers import Score, attack, repeated
from bench.leakage.gates import gates
from bench.leakage.traces import LONE, PURPOSE, TIMING, Array, traces
from bench.leakage.trial import DP, PLACEMENT, RAW, SWING, Size, trial


def a_score(right: int, of: int) -> Score:
    return Score("logistic", right, of, 0.5, 0.5, 0.0)


def noise_and_signal(count: int, strength: float, seed: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    bits = np.arange(count) % 2
    features = rng.normal(size=(count, 3))
    features[:, 1] += strength * bits
    return features, bits


def test_bounds_are_those_of_clopper_and_pearson() -> None:
    assert a_score(10, 10).bounds() == pytest.approx((0.691503, 1.0), abs=1e-6)
    assert a_score(0, 10).bounds() == pytest.approx((0.0, 0.308497), abs=1e-6)
    assert a_score(50, 100).bounds() == pytest.approx((0.398321, 0.601679), abs=1e-6)


def test_attackers_find_what_is_there_and_nothing_else() -> None:
    found = attack(noise_and_signal(300, 4.0, 1), noise_and_signal(300, 4.0, 2))
    assert found.bounds(0.999)[0] > 0.9
    nothing = attack(noise_and_signal(300, 0.0, 1), noise_and_signal(300, 0.0, 2))
    assert nothing.bounds(0.999)[0] < 0.55


def test_evidence_adds_up_over_repetitions() -> None:
    def groups(seed: int) -> tuple[Array, Array]:
        features, bits = noise_and_signal(80, 0.0, seed)
        many = np.repeat(features[:, None, :], 20, axis=1)
        many += np.random.default_rng(seed + 9).normal(size=many.shape)
        many[:, :, 1] += 1.0 * bits[:, None]
        return many, bits

    assert repeated(groups(1), groups(2)).accuracy > 0.75


def test_traces_hold_the_secret_in_equal_parts() -> None:
    for secret in (TIMING, LONE, PURPOSE):
        (power_mw, bits), *_ = traces(secret, 10, 1)
        assert power_mw.shape == (10, 60_000)
        assert bits.sum() == 5
        assert 0 <= power_mw.min() <= power_mw.max() <= 800_000


def test_a_gate_closes_on_a_leak_and_on_a_blind_attacker() -> None:
    leak = {TIMING.name: {RAW: a_score(500, 1000), PLACEMENT: a_score(900, 1000)}}
    for is_quick in (False, True):
        assert [gate.held for gate in gates(leak, {}, is_quick=is_quick)] == [False, False]
    sound = {TIMING.name: {RAW: a_score(4_000, 4_000), PLACEMENT: a_score(2_010, 4_000)}}
    assert all(gate.held for gate in gates(sound, {}, is_quick=False))
    again = {LONE.name: {DP: a_score(350, 500)}}
    assert [gate.held for gate in gates({}, again, is_quick=False)] == [False]


def test_the_swing_class_would_tell_how_requests_follow_each_other() -> None:
    scores = trial(TIMING, [PLACEMENT, SWING], Size(learn=100, test=150))
    assert scores[SWING].bounds(0.999)[0] > 0.6
    assert scores[PLACEMENT].bounds(0.999)[0] < 0.55
