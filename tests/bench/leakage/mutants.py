"""Eight ways to break the guarantees, each of which the checks must notice."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool

from bench.leakage.checks import CHECKS
from bench.leakage.reduced import START_UNIX_NS
from bench.leakage.subject import Subject, shipped, told
from bench.leakage.traces import LIMIT_MW, Array
from chipwatt.agent.attribution.workload_window import SAMPLE_NS, WindowMaker
from chipwatt.collector.egress.noise import SENSITIVITY, Noise
from chipwatt.core import coarse
from chipwatt.core.records import WorkloadWindow
from chipwatt.v1 import types_pb2

_TEN_S_NS: Final = 10_000_000_000


def ten_seconds(subject: Subject) -> Subject:
    """Make windows of 10 s."""

    def reduce(power_mw: Array) -> Sequence[WorkloadWindow]:
        maker = WindowMaker(b"w" * 16, b"c" * 16, LIMIT_MW, window_ns=_TEN_S_NS, secret=b"s")
        windows = []
        for number, energy_uj in enumerate(power_mw.reshape(600, -1).sum(1).tolist()):
            maker.observe_energy(number * SAMPLE_NS, energy_uj, SAMPLE_NS)
            if number % 100 == 99:
                windows.append(maker.close(START_UNIX_NS))
        # As many rows as seconds have tens; the frame has room for a minute's only.
        return [replace(w, duration_ns=coarse.WINDOW_NS) for w in windows if w]

    return replace(subject, reduce=reduce)


def exact_counts(subject: Subject) -> Subject:
    """Release counts without noise."""
    return replace(subject, noise=lambda: list)


def float_noise(subject: Subject) -> Subject:
    """Add noise of floats."""

    def noise() -> Noise:
        rng = np.random.default_rng()
        return lambda counts: [each + rng.laplace(0, SENSITIVITY) for each in counts]  # type: ignore[misc]

    return replace(subject, noise=noise)


def fixed_seed(subject: Subject) -> Subject:
    """Draw the same noise after every start."""

    def noise() -> Noise:
        rng = random.Random(1)
        return lambda counts: [
            each + round(rng.expovariate(1 / SENSITIVITY) - rng.expovariate(1 / SENSITIVITY))
            for each in counts
        ]

    return replace(subject, noise=noise)


def send_on_change(subject: Subject) -> Subject:
    """Send nothing where nothing has changed."""

    def sent(minutes: Sequence[Array]) -> list[int]:
        rows = [{replace(row, start_unix_ns=0) for row in minute} for minute in told(minutes)]
        return [n for n, row in enumerate(rows) if not n or row != rows[n - 1]]

    return replace(subject, sent=sent)


def sparse_buckets(subject: Subject) -> Subject:
    """Leave out the classes of power in which no time was spent."""

    def frame(windows: Sequence[WorkloadWindow]) -> bytes:
        return subject.frame(windows) + b"".join(
            bytes((k, part)) for w in windows for k, part in enumerate(w.occupancy) if part
        )

    return replace(subject, frame=frame)


def unknown_fields(subject: Subject) -> Subject:
    """Keep what no schema knows."""

    def relay(payload: bytes) -> bytes:
        return types_pb2.Payload.FromString(payload).SerializeToString()

    return replace(subject, relay=relay)


def comm_label(subject: Subject) -> Subject:
    """Send the name of the process."""
    file = descriptor_pb2.FileDescriptorProto()
    types_pb2.DESCRIPTOR.CopyToProto(file)
    (payload,) = (message for message in file.message_type if message.name == "Payload")
    text = descriptor_pb2.FieldDescriptorProto
    payload.field.add(
        name="comm", number=99, type=text.TYPE_STRING, label=text.LABEL_OPTIONAL, json_name="comm"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    mutated = pool.FindMessageTypeByName("chipwatt.v1.Payload")
    return replace(subject, messages=(mutated,))


MUTANTS: Final[Mapping[str, Callable[[Subject], Subject]]] = {
    "windows of 10 s": ten_seconds,
    "exact counts at egress": exact_counts,
    "noise of floats": float_noise,
    "fixed seed": fixed_seed,
    "sent on change": send_on_change,
    "sparse buckets": sparse_buckets,
    "unknown fields kept": unknown_fields,
    "comm label added": comm_label,
}


def killers() -> Iterator[tuple[str, list[str]]]:
    """Yield what is shipped and every mutant, each with the checks that it fails."""
    ours = shipped()
    for name, mutate in {"shipped": lambda subject: subject, **MUTANTS}.items():
        subject = mutate(ours)
        yield name, [check.__name__ for check in CHECKS if not check(subject)]
