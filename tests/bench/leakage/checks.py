"""What must hold of the whole way exactly, without statistics where it can be without."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from bench.leakage.audit import epsilon_at_least
from bench.leakage.reduced import START_UNIX_NS
from bench.leakage.subject import Subject, frame
from bench.leakage.traces import LIMIT_MW, PURPOSE, Array, traces
from chipwatt.collector.egress.noise import EPSILON
from chipwatt.core import coarse
from chipwatt.core.model import Attribution
from chipwatt.core.records import WorkloadWindow
from unit.core.test_closed_schema import BYTES_ALLOWED, NUMBERS, fields_of

_MINUTES: Final = 3
_WINDOWS: Final = 200


def order(subject: Subject) -> bool:
    """G1: permuting a minute's samples changes no byte."""
    rng = np.random.default_rng(1)
    for power_mw in _minutes(4):
        tenths = power_mw.reshape(600, -1)
        mixed = tenths[rng.permutation(600)].reshape(-1)
        if subject.frame(subject.reduce(power_mw)) != subject.frame(subject.reduce(mixed)):
            return False
    return True


def length(subject: Subject) -> bool:
    """G1: a frame is as long as any other, whatever is in it and of however many workloads."""
    rng = np.random.default_rng(2)
    frames = (subject.frame(_any_windows(rng)) for _ in range(_WINDOWS))
    return len({len(each) for each in frames}) == 1


def schedule(subject: Subject) -> bool:
    """G1: something is sent every minute, idle or not."""
    idle = [np.full(60_000, 90_000)] * _MINUTES
    return subject.sent(idle) == subject.sent(_minutes(_MINUTES)) == list(range(_MINUTES))


def schema(subject: Subject) -> bool:
    """G0: nothing that an agent can send holds text, or bytes that are not declared columns."""
    seen: set[str] = set()
    fields = [field for message in subject.messages for field in fields_of(message, seen)]
    allowed = {*NUMBERS, fields[0].TYPE_MESSAGE}
    return all(f.type in allowed or f.full_name in BYTES_ALLOWED for f in fields)


def bits(_: Subject) -> bool:
    """G2: at most thirty bits a workload and window, from the ranges that are declared."""
    return coarse.bits_a_window() <= 30


def unknown(subject: Subject) -> bool:
    """G0: what no schema knows is dropped on arrival."""
    canary = secrets.token_bytes(24)
    forged = b"\x9a\x06" + bytes([len(canary)]) + canary  # field 99, length-delimited
    payload = frame(_any_windows(np.random.default_rng(3)))
    return canary not in subject.relay(payload + forged)


def integers(subject: Subject) -> bool:
    """G3: noise is of integers; that of floats shows in their lowest bits."""
    return all(type(each) is int for each in _drawn(subject))


def fresh(subject: Subject) -> bool:
    """G3: a process that starts anew draws noise that it has not drawn before."""
    return _drawn(subject) != _drawn(subject)


def epsilon(subject: Subject) -> bool:
    """G3: what is released proves no larger epsilon than is declared."""
    return epsilon_at_least(subject.noise(), 400) <= EPSILON


CHECKS: Final[Sequence[Callable[[Subject], bool]]] = (
    order, length, schedule, schema, bits, unknown, integers, fresh, epsilon,
)  # fmt: skip


def _drawn(subject: Subject) -> list[Any]:
    noise = subject.noise()
    return [each for _ in range(20) for each in noise([80] * 7)]


def _minutes(count: int) -> list[Array]:
    return [row for power_mw, _ in traces(PURPOSE, count, 7) for row in power_mw]


def _any_windows(rng: np.random.Generator) -> list[WorkloadWindow]:
    return [
        WorkloadWindow(
            workload_id=rng.bytes(16),
            class_id=rng.bytes(16),
            start_unix_ns=START_UNIX_NS,
            duration_ns=coarse.WINDOW_NS,
            attribution=Attribution(int(rng.integers(1, 3))),
            limit_mw=LIMIT_MW,
            energy_steps=int(rng.integers(coarse.MAX_STEPS + 1)),
            occupancy=tuple(rng.multinomial(32, rng.dirichlet([0.3] * 8)).tolist()),
            swing_class=0,
        )
        for _ in range(int(rng.integers(1, coarse.MAX_WORKLOADS)))
    ]
