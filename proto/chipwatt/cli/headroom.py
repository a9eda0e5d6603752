"""``chipwatt headroom``: power in use and left, at every node of the power topology."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from chipwatt.cli import options
from chipwatt.cli.quantities import duration_text, power_text, share_text
from chipwatt.cli.tables import Table, show


def add_parser(subparsers: Any) -> None:
    """Add ``headroom`` to the command line."""
    parser = subparsers.add_parser(
        "headroom",
        help="power left under every budget",
        description="Print power now, the predicted peak and what is left under every budget on "
        "the way up, for the nodes named or for all.",
    )
    parser.add_argument("node", nargs="*", help="ids of power nodes (default: every one)")
    options.add_json(parser)
    options.add_collector(parser)


def run(args: argparse.Namespace) -> int:
    """Print one line a node."""
    with options.client(args) as collector:
        answers = collector.headroom(args.node)
        kinds = {node.id: node.kind for node in collector.topology().nodes}
    if args.json:
        for answer in answers:
            print(json.dumps({"kind": kinds.get(answer.node_id, ""), **asdict(answer)}))
        return 0
    table = Table(
        ["node", "kind", ">now", ">peak 1 s", ">predicted peak", ">budget", ">headroom", "bound by",
         ">heard", ">age", "remarks"]
    )  # fmt: skip
    for answer in answers:
        trust = answer.provenance
        table.rows.append(
            (
                answer.node_id,
                kinds.get(answer.node_id, ""),
                power_text(answer.now_mw),
                power_text(answer.peak_1s_mw),
                power_text(answer.predicted_peak_mw),
                power_text(answer.budget_mw) if answer.budget_mw else "none",
                "no limit" if answer.headroom_mw is None else power_text(answer.headroom_mw),
                answer.binding_node_id or "-",
                share_text(trust.reporting_ppm),
                duration_text(trust.staleness_ms * 1_000_000),
                ", ".join(
                    word.lower().replace("_", " ") for word in (trust.predictor, *trust.quality)
                ),
            )
        )
    if table.rows:
        show(table)
    else:
        print("the power topology is empty; name one in the collector's configuration.")
    return 0
