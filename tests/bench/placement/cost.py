"""What the forecast costs: time of a second's bin and memory, from 1,000 to 100,000 nodes."""

from __future__ import annotations

import time

import numpy as np

from bench.placement.outcome import Outcome
from chipwatt.collector.forecast.contract import NodeSpec
from chipwatt.collector.forecast.forecaster import Forecaster

NODES = (1_000, 10_000, 100_000)
_START_S = 1_800_000_000 // 1_800 * 1_800
_CLASSES = 4
STEP_MS = 50.0
"""A bin of 10,000 nodes and four horizons."""
NODE_BYTES = 2_000
SHARED = ("scores.", "by_minute.", "book.", "cohorts.", "template.day")
"""Of a state: rings are a cohort's, the book is a kind's, template days are history."""


def run() -> Outcome:
    """Print a row a number of nodes."""
    outcome = Outcome()
    print("nodes    bin ms: median   p99   worst   predict all ms   bytes/node   shared MB")
    for nodes in NODES:
        seconds = 1_000 if nodes <= 10_000 else 130
        forecaster = Forecaster(
            [
                NodeSpec(f"n{n}", 8 if n % 10 else 6, f"class-{n % _CLASSES}", 1e6, 1e6)
                for n in range(nodes)
            ]
        )
        rng = np.random.default_rng(nodes)
        base = rng.uniform(3e5, 6e5, nodes)
        noise = [rng.exponential(5e4, nodes) for _ in range(16)]
        took_ms = []
        # Near its end the run passes origins of all four horizons.
        first = _START_S - seconds + 30
        for second in range(first, first + seconds):
            mean = base + noise[second % 16]
            began = time.perf_counter()
            forecaster.step(second, mean, mean * 1.05, mean * 1.2)
            took_ms.append((time.perf_counter() - began) * 1e3)
        began = time.perf_counter()
        forecaster.predict(600, 0.99)
        predict_ms = (time.perf_counter() - began) * 1e3
        state = forecaster.state()
        shared = sum(v.nbytes for k, v in state.items() if k.startswith(SHARED))
        each = (sum(v.nbytes for v in state.values()) - shared) / nodes
        median, p99 = np.quantile(took_ms, [0.5, 0.99])
        print(
            f"{nodes:>7} {median:15.2f} {p99:7.2f} {max(took_ms):7.2f} {predict_ms:14.2f}"
            f" {each:14.0f} {shared / 1e6:11.1f}"
        )
        outcome.figures[f"bin ms p99, {nodes} nodes"] = round(p99, 2)
        outcome.figures[f"bytes a node, {nodes} nodes"] = round(each)
        slow = f"{nodes} nodes: a bin takes {p99:.1f} ms at p99, more than {STEP_MS}"
        outcome.bound(holds=nodes > 10_000 or p99 <= STEP_MS, complaint=slow)
        large = f"{nodes} nodes: {each:.0f} bytes a node, more than {NODE_BYTES}"
        outcome.bound(holds=each <= NODE_BYTES, complaint=large)
    return outcome
