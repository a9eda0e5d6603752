"""``chipwatt whatif``: what placing, moving, capping or losing a feed would do to every budget."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from chipwatt.cli import demands, options
from chipwatt.cli.quantities import power_text
from chipwatt.cli.tables import Table, show
from chipwatt.core.errors import ChipwattError

if TYPE_CHECKING:
    from chipwatt.client import Change, WhatIfInfo

_EPILOG = """\
Changes may be given several times and are made together; nothing is kept. For example

  chipwatt whatif --place rack-7-node-3 --peak 5.6kW --feed-loss feed-a

Ends with 0, and with 3 where a budget would be exceeded or a node would lose its last feed."""


class NoChange(ChipwattError):
    """Nobody said what would change."""

    exit_code = 2


def add_parser(subparsers: Any) -> None:
    """Add ``whatif`` to the command line."""
    parser = subparsers.add_parser(
        "whatif",
        help="what a change would do to budgets",
        description="Print the peak and the room of every node that changes would touch.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    group = parser.add_argument_group("changes")

    def change(name: str, help_: str, *metavar: str) -> None:
        more = {"nargs": len(metavar), "metavar": metavar} if len(metavar) > 1 else {}
        group.add_argument(name, action="append", default=[], help=help_, **more)

    change("--place", "the workload below is placed on this node", "NODE")
    change("--remove", "so much less is drawn there", "NODE", "POWER")
    change("--move", "so much goes from one node to another", "FROM", "TO", "POWER")
    change("--cap", "a node is capped", "NODE", "POWER")
    change("--budget", "a node has another budget", "NODE", "POWER")
    change("--feed-loss", "a node fails, and its load goes to the other feeds", "NODE")
    demands.add_demand(parser)
    demands.add_outlook(parser)
    parser.add_argument(
        "--snapshot", default="", metavar="ID", help="of an earlier rank (default: now)"
    )
    options.add_json(parser)
    options.add_collector(parser)


def run(args: argparse.Namespace) -> int:
    """Print one line a node that is touched."""
    changes = _changes(args)
    if not changes:
        raise NoChange("nothing changes: give --place, --remove, --move, --cap, --budget or "
                       "--feed-loss.")  # fmt: skip
    with options.client(args) as collector:
        answer = collector.what_if(
            changes,
            snapshot_id=args.snapshot,
            horizon_s=args.horizon,
            quantile_ppm=args.quantile,
        )
    if args.json:
        print(json.dumps(asdict(answer)))
    else:
        _print(answer)
    return demands.EXIT_NO if answer.first_violated_id or answer.unpowered_ids else 0


def _changes(args: argparse.Namespace) -> list[Change]:
    from chipwatt import client as c

    changes: list[Change] = []
    if args.place:
        demand = demands.demand(args)
        changes += [c.PlaceChange(node, demand) for node in args.place]
    changes += [c.RemoveChange(node, _power(power)) for node, power in args.remove]
    changes += [c.MoveChange(start, end, _power(power)) for start, end, power in args.move]
    changes += [c.CapChange(node, _power(power)) for node, power in args.cap]
    changes += [c.BudgetChange(node, _power(power)) for node, power in args.budget]
    changes += [c.FeedLoss(node) for node in args.feed_loss]
    return changes


def _power(text: str) -> int:
    try:
        return options.power_mw(text)
    except argparse.ArgumentTypeError as error:
        raise NoChange(str(error)) from None


def _print(answer: WhatIfInfo) -> None:
    table = Table(
        ["node", ">peak before", ">peak after", ">room before", ">room after", ">risk before",
         ">risk after"]
    )  # fmt: skip
    for effect in answer.effects:
        table.rows.append(
            (
                effect.node_id,
                power_text(effect.peak_before_mw),
                power_text(effect.peak_after_mw),
                "no limit" if effect.unlimited else power_text(effect.headroom_before_mw),
                "no limit" if effect.unlimited else power_text(effect.headroom_after_mw),
                f"{effect.exceed_before_ppm / 10_000:.2f} %",
                f"{effect.exceed_after_ppm / 10_000:.2f} %",
            )
        )
    if table.rows:
        show(table)
        print()
    else:
        print("no node's peak or room changes.")
    if answer.unpowered_ids:
        print(f"without any feed: {', '.join(answer.unpowered_ids)}")
    if answer.first_violated_id:
        print(f"the budget of {answer.first_violated_id} would be exceeded.")
    else:
        print("every budget holds.")
    print(demands.remarks(answer.provenance))
