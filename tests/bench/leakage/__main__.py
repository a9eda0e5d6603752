"""``python -m tests.bench.leakage``: the six secrets, three attackers, gates and mutants."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.leakage.audit import epsilon_at_least
from bench.leakage.gates import Gate, details, gates, table
from bench.leakage.mutants import killers
from bench.leakage.traces import (
    AMONG_8,
    AMONG_30,
    LONE,
    OUTPUT,
    PURPOSE,
    SECRETS,
    SHIFTED,
    TIMING,
)
from bench.leakage.trial import (
    CHANNELS,
    DP,
    HEADROOM,
    PLACEMENT,
    RAW,
    SWING,
    Size,
    again,
    shifted,
    trial,
)
from chipwatt.collector.egress.noise import EPSILON, discrete_laplace

FULL = Size(learn=2_000, test=4_000, learn_groups=500, test_groups=1_500)
QUICK = Size(learn=200, test=300)


def main(arguments: list[str] | None = None) -> int:
    """Print tables and verdict; return 1 where a gate broke or a mutant lived."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.leakage", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="few traces, less than a minute of CPU"
    )
    is_quick = parser.parse_args(arguments).quick
    begun_s = time.process_time()
    size = QUICK if is_quick else FULL
    shown = (RAW, PLACEMENT, HEADROOM, DP) if is_quick else CHANNELS
    single = {secret.name: trial(secret, shown, size) for secret in (*SECRETS, PURPOSE)}
    repeats = () if is_quick else (AMONG_30, AMONG_8, LONE, OUTPUT, PURPOSE)
    many = {secret.name: again(secret, size) for secret in repeats}
    print(f"Accuracy of the best of three attackers (95 % bounds), {size.learn} traces to learn")
    print(f"from, {size.test} to test; chance is 0.5\n")
    print("\n".join([*table(single, many), "", *details(single)]))
    print("\n| mutant | noticed by |\n| --- | --- |")
    noticed = dict(killers())
    for name, checks in noticed.items():
        print(f"| {name} | {', '.join(checks) or '-'} |")
    if not is_quick:
        _others(size)
    found = [*gates(single, many, is_quick=is_quick), _audit(4_000 if is_quick else 50_000)]
    print("\n| gate | bound | |\n| --- | --- | --- |")
    for gate in found:
        print(f"| {gate.name} | {gate.bound} | {'held' if gate.held else 'BROKEN'} |")
    broken = sum(not gate.held for gate in found)
    is_sound = not noticed.pop("shipped")
    killed = sum(bool(checks) for checks in noticed.values())
    spent_s = time.process_time() - begun_s
    print(
        f"\n{len(found) - broken}/{len(found)} gates held, mutants {killed}/{len(noticed)} killed, "
        f"{'no check' if is_sound else 'A CHECK'} failed on what is shipped; {spent_s:.0f} s of CPU"
    )
    return 1 if broken or not is_sound or killed < len(noticed) else 0


def _audit(draws: int) -> Gate:
    least = epsilon_at_least(discrete_laplace(), draws)
    name = f"epsilon, {draws} draws of each neighbour"
    return Gate(name, f"{least:.3f} <= {EPSILON}", least <= EPSILON)


def _others(size: Size) -> None:
    print("\nOther families of workloads (placement), and what the swing class would tell:\n")
    print("| hidden fact | attacker | accuracy (95 % bounds) |\n| --- | --- | --- |")
    for secret in (TIMING, AMONG_8, PURPOSE):
        for name, score in shifted(secret, size, SHIFTED).items():
            low, high = score.bounds()
            print(f"| {secret.name} | {name} | {score.accuracy:.3f} ({low:.3f}-{high:.3f}) |")
    low, high = (score := trial(TIMING, [SWING], size)[SWING]).bounds()
    print(f"| {TIMING.name} | with swing class | {score.accuracy:.3f} ({low:.3f}-{high:.3f}) |")


if __name__ == "__main__":
    sys.exit(main())
