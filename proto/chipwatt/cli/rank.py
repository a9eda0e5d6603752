"""``chipwatt rank``: which hosts can take a workload, best first, and why the others cannot."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from chipwatt.cli import demands, options
from chipwatt.cli.quantities import duration_text, power_text
from chipwatt.cli.tables import Table, show

if TYPE_CHECKING:
    from chipwatt.client import Candidate, Objective

_DEFAULT_LIMIT = 20
_EPILOG = "Ends with 0 where at least one host fits and with 3 where none does."


def add_parser(subparsers: Any) -> None:
    """Add ``rank`` to the command line."""
    parser = subparsers.add_parser(
        "rank",
        help="which hosts can take a workload",
        description="Rank hosts for a workload by what it would do to every budget above them.",
        epilog=_EPILOG,
    )
    parser.add_argument("host", nargs="*", help="ids of host nodes (default: every host)")
    demands.add_demand(parser)
    demands.add_outlook(parser)
    parser.add_argument(
        "--weights", default="", metavar="PART=SHARE,...",
        help="of the score: headroom, coincidence, marginal_power, carbon, water, swing, pack "
        "(default: headroom=0.7,coincidence=0.2,swing=0.1)",
    )  # fmt: skip
    parser.add_argument(
        "--limit", type=int, default=_DEFAULT_LIMIT,
        help=f"this many hosts at most, 0: all (default: {_DEFAULT_LIMIT})",
    )  # fmt: skip
    options.add_json(parser)
    options.add_collector(parser)


def run(args: argparse.Namespace) -> int:
    """Print one line a host."""
    demand, objective = demands.demand(args), _objective(args.weights)
    if not 0 <= args.limit < 2**32:
        raise demands.NoDemand("--limit is at least 0.")
    with options.client(args) as collector:
        ranking = collector.rank(
            demand,
            args.host,
            horizon_s=args.horizon,
            quantile_ppm=args.quantile,
            objective=objective,
            limit=args.limit,
        )
    if args.json:
        print(json.dumps(asdict(ranking)))
    elif ranking.candidates:
        show(_table(ranking.candidates))
        trust = ranking.provenance
        age = duration_text(trust.staleness_ms * 1_000_000)
        print(f"\n{demands.remarks(trust)}; data {age} old; placement {ranking.placement_id}, "
              f"snapshot {ranking.snapshot_id}")  # fmt: skip
    else:
        print("the power topology has no host; name one in the collector's configuration.")
    return 0 if any(c.feasible for c in ranking.candidates) else demands.EXIT_NO


def _table(candidates: tuple[Candidate, ...]) -> Table:
    table = Table(
        ["host", "fits", ">score", ">adds to peak", ">adds to mean", ">left after", "bound by",
         "remarks"]
    )  # fmt: skip
    for number, candidate in enumerate(candidates):
        unlimited = "no_budget" in candidate.reasons
        said = (*(reason.replace("_", " ") for reason in candidate.reasons), candidate.explanation)
        table.rows.append(
            (
                candidate.host_id,
                "yes" if candidate.feasible else "no",
                f"{candidate.score_ppm / 1_000_000:.3f}",
                power_text(candidate.marginal_peak_mw),
                power_text(candidate.marginal_mean_mw),
                "no limit" if unlimited else power_text(candidate.headroom_after_mw),
                candidate.tightest_ancestor_id or "-",
                "; ".join(filter(None, said)),
            )
        )
        if not candidate.feasible:
            table.faint.add(number)
    return table


def _objective(text: str) -> Objective | None:
    from chipwatt.client import Objective

    if not text:
        return None
    known = [field.name.removesuffix("_ppm") for field in fields(Objective)]
    weights = {}
    for item in text.split(","):
        name, _, share = item.strip().partition("=")
        if name not in known:
            raise demands.NoDemand(f"--weights: {name!r} is none of {', '.join(known)}.")
        try:
            weights[f"{name}_ppm"] = options.share_ppm(share)
        except argparse.ArgumentTypeError as error:
            raise demands.NoDemand(f"--weights: {name}: {error}") from None
    return Objective(**weights)
