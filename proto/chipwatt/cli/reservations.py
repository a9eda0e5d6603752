"""``chipwatt reservations``: power set aside for what is about to start, and giving it back."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from chipwatt.cli import options
from chipwatt.cli.quantities import duration_text, power_text
from chipwatt.cli.tables import Table, show

if TYPE_CHECKING:
    from chipwatt.client import Reservation

_STATES = ("held", "committed", "released", "expired", "absorbed")


def add_parser(subparsers: Any) -> None:
    """Add ``reservations`` to the command line."""
    parser = subparsers.add_parser(
        "reservations",
        help="power set aside",
        description="List power that is set aside, or give some of it back.",
    )
    parser.add_argument("--node", default="", help="at this power node only")
    parser.add_argument(
        "--state", choices=_STATES, default="", help="in this state (default: held and committed)"
    )
    parser.add_argument(
        "--release", action="append", default=[], metavar="ID",
        help="give the power of this reservation back, then print it; may be given several times",
    )  # fmt: skip
    options.add_json(parser)
    options.add_collector(parser)


def run(args: argparse.Namespace) -> int:
    """Print one line a reservation."""
    found: tuple[Reservation, ...]
    with options.client(args) as collector:
        if args.release:
            found = tuple(collector.release(wanted) for wanted in args.release)
        else:
            found = collector.reservations(args.node, state=args.state)
    if args.json:
        for reservation in found:
            print(json.dumps(asdict(reservation)))
    elif found:
        show(_table(found, time.time_ns()))
    else:
        print("no power is set aside.")
    return 0


def _table(found: tuple[Reservation, ...], now_unix_ns: int) -> Table:
    table = Table(
        ["reservation", "node", ">power", ">replicas", "state", ">age", ">expires in", "workload"]
    )
    for reservation in found:
        held_mw = next(
            (g.granted_mw for g in reservation.grants if g.node_id == reservation.node_id), None
        )
        left_ns = reservation.expires_unix_ns - now_unix_ns
        is_held = reservation.state == "held"
        table.rows.append(
            (
                reservation.reservation_id,
                reservation.node_id,
                power_text(held_mw),
                str(reservation.demand.replicas or 1),
                reservation.state,
                duration_text(max(1, now_unix_ns - reservation.created_unix_ns)),
                duration_text(left_ns) if is_held and left_ns > 0 else "-",
                reservation.workload_id or "-",
            )
        )
    return table
