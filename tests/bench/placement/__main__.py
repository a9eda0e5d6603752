"""Run the experiments, print their tables, exit 1 where a bound is broken.

``python -m tests.bench.placement`` runs all; names choose some: ``e1`` coverage, ``e2``
oversubscription, ``rows`` row peaks, ``forecast`` what a forecast costs, ``timing`` how
fast placement answers. ``--csv FILE`` judges an operator's own series instead: a first
column of times, then a column of watts a node.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS)]

from bench.placement import coverage  # noqa: E402
from bench.placement.llm_fleet import DataMissing  # noqa: E402
from bench.placement.outcome import Outcome  # noqa: E402
from bench.placement.own_series import SeriesError, read_series  # noqa: E402

EXPERIMENTS = {
    "rows": "row_peaks",
    "e1": "coverage",
    "e2": "oversubscribe",
    "forecast": "cost",
    "timing": "timing",
}


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="tests.bench.placement", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(EXPERIMENTS)}; default: all")
    parser.add_argument("--json", action="store_true", help="tables go to standard error")
    parser.add_argument("--csv", type=Path, help="judge these series instead")
    parser.add_argument("--nameplate-w", type=float, help="of every column; default: the highest")
    parser.add_argument("--horizon-s", type=int, default=60, help="of --csv")
    parser.add_argument("--hours", type=int, default=6, help="of --csv, at most")
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in EXPERIMENTS]:
        parser.error(f"no experiment {unknown[0]}")
    verdict: dict[str, object] = {}
    broken: list[str] = []
    try:
        with redirect_stdout(sys.stderr if args.json else sys.stdout):
            for name, experiment in _chosen(args).items():
                print(f"== {name}")
                began = time.monotonic()
                outcome = experiment()
                took_s = round(time.monotonic() - began, 1)
                print(f"   {took_s} s\n")
                verdict[name] = {**outcome.figures, "took_s": took_s}
                broken += outcome.broken
            for complaint in broken:
                print(f"BROKEN {complaint}")
    except (DataMissing, SeriesError) as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps({"ok": not broken, "broken": broken, **verdict}))
    return 1 if broken else 0


def _chosen(args: argparse.Namespace) -> dict[str, Callable[[], Outcome]]:
    if args.csv:
        names, power, highest = read_series(args.csv, args.hours)
        plate = args.nameplate_w or highest
        return {"csv": lambda: coverage.run_own(names, power, plate, args.horizon_s)}
    modules = {name: EXPERIMENTS[name] for name in args.names or EXPERIMENTS}
    return {
        name: import_module(f"bench.placement.{module}").run for name, module in modules.items()
    }


if __name__ == "__main__":
    sys.exit(main())
