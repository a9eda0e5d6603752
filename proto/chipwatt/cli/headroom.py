"""``chipwatt headroom``: power in use, set aside and left, at every node of the power topology."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from chipwatt.cli import demands, options
from chipwatt.cli.quantities import duration_text, power_text, share_text
from chipwatt.cli.tables import Table, show

if TYPE_CHECKING:
    from chipwatt.client import HeadroomInfo, PredictedPeak


def add_parser(subparsers: Any) -> None:
    """Add ``headroom`` to the command line."""
    parser = subparsers.add_parser(
        "headroom",
        help="power left under every budget",
        description="Print power now, the predicted peak, what is set aside and what is left under "
        "every budget on the way up, for the nodes named or for all. Where the remarks say `by the "
        "minute`, now is the mean of the last minute and the peak beside it the highest minute, in "
        "coarse steps: what is less than half a step reads 0 W.",
    )
    parser.add_argument("node", nargs="*", help="ids of power nodes (default: every one)")
    parser.add_argument(
        "--horizon", type=options.horizon_s, action="append", default=[], metavar="TIME",
        help="look this far ahead: 60s, 10min, 1h or 3h; may be given several times "
        "(default: 10min)",
    )  # fmt: skip
    parser.add_argument(
        "--quantile", type=options.quantile_ppm, action="append", default=[], metavar="SHARE",
        help="peaks stay below the prediction with this probability; may be given several times "
        "(default: 0.99)",
    )  # fmt: skip
    parser.add_argument(
        "--without-reservations", action="store_true", help="count what is set aside as room"
    )
    options.add_json(parser)
    options.add_collector(parser)


def run(args: argparse.Namespace) -> int:
    """Print one line a node."""
    with options.client(args) as collector:
        answers = collector.headroom(
            args.node,
            horizons_s=args.horizon,
            quantiles_ppm=args.quantile,
            include_reservations=not args.without_reservations,
        )
        kinds = {node.id: node.kind for node in collector.topology().nodes}
    if args.json:
        for answer in answers:
            print(json.dumps({"kind": kinds.get(answer.node_id, ""), **asdict(answer)}))
    elif answers:
        show(_table(answers, kinds))
    else:
        print("the power topology is empty; name one in the collector's configuration.")
    return 0


def _table(answers: tuple[HeadroomInfo, ...], kinds: dict[str, str]) -> Table:
    # Several peaks take a column each; all nodes are asked for the same ones.
    several = answers[0].predicted if len(answers[0].predicted) > 1 else ()
    headings = [_heading(peak) for peak in several] or [">predicted peak"]
    table = Table(
        ["node", "kind", ">now", _highest(answers), *headings, ">reserved", ">budget", ">headroom",
         "bound by", ">heard", ">age", "remarks"]
    )  # fmt: skip
    for answer in answers:
        trust = answer.provenance
        peaks = [peak.peak_mw for peak in answer.predicted] if several else None
        table.rows.append(
            (
                answer.node_id,
                kinds.get(answer.node_id, ""),
                power_text(answer.now_mw),
                power_text(answer.peak_1s_mw),
                *map(power_text, peaks or [answer.predicted_peak_mw]),
                power_text(answer.reserved_mw) if answer.reserved_mw else "-",
                power_text(answer.budget_mw) if answer.budget_mw else "none",
                "no limit" if answer.headroom_mw is None else power_text(answer.headroom_mw),
                answer.binding_node_id or "-",
                share_text(trust.reporting_ppm),
                duration_text(trust.staleness_ms * 1_000_000),
                demands.remarks(trust),
            )
        )
    return table


def _highest(answers: tuple[HeadroomInfo, ...]) -> str:
    by_minute = {"BY_THE_MINUTE" in answer.provenance.quality for answer in answers}
    if by_minute == {False}:
        return ">peak 1 s"
    return ">highest minute" if by_minute == {True} else ">peak 1 s, or minute"


def _heading(peak: PredictedPeak) -> str:
    quantile = f"{peak.quantile_ppm / 10_000:.1f}".removesuffix(".0")
    return f">peak {_short(peak.horizon_s)} q{quantile}"


def _short(horizon_s: int) -> str:
    for unit_s, name in ((3600, "h"), (60, "min")):
        if horizon_s % unit_s == 0:
            return f"{horizon_s // unit_s} {name}"
    return f"{horizon_s} s"
