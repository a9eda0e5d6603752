"""E-LLM: how the highest second of a row falls, as a share of its rating, with its servers."""

from __future__ import annotations

import numpy as np

from bench.placement.llm_fleet import SHARES, servers
from bench.placement.outcome import Outcome

COUNTS = (1, 4, 16, 40)
REFERENCE = {"conv": (1.00, 0.77, 0.63, 0.58), "code": (1.00, 0.98, 0.72, 0.60)}
"""What the reference measured on the same data with a simulator of its own."""
_APART = 0.05


def run() -> Outcome:
    """Print a row a service, beside what it has to be within 0.05 of."""
    outcome = Outcome()
    print("highest second / rating   servers: " + "  ".join(f"{n:>4}" for n in COUNTS))
    for service in SHARES:
        power = servers(service, 480, seed=11)
        peaks = []
        for count in COUNTS:
            rows = power[: len(power) // count * count].reshape(-1, count, power.shape[1])
            peaks.append(float(np.mean(rows.mean(axis=1).max(axis=1))))
        print(f"{service:<34} " + "  ".join(f"{p:4.2f}" for p in peaks))
        print(f"{'  reference':<34} " + "  ".join(f"{p:4.2f}" for p in REFERENCE[service]))
        for count, peak, known in zip(COUNTS, peaks, REFERENCE[service], strict=True):
            complaint = f"{service}, {count} servers: peak {peak:.2f}, reference {known:.2f}"
            outcome.bound(holds=abs(peak - known) <= _APART, complaint=complaint)
        outcome.figures[f"{service} row peaks"] = [round(peak, 3) for peak in peaks]
    return outcome
