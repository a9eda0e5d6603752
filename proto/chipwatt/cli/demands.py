"""Options that say what is to be placed and how far ahead to look; shared by placement commands."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from chipwatt.cli import options
from chipwatt.core.errors import ChipwattError

if TYPE_CHECKING:
    from chipwatt.client import Demand, Provenance

EXIT_NO = 3
"""The question was answered with no: nothing fits, or a budget would be exceeded."""
SWINGS = ("none", "weak", "clear", "strong")


class NoDemand(ChipwattError):
    """Nobody said what is to be placed."""

    exit_code = 2


def add_demand(parser: argparse.ArgumentParser) -> None:
    """Add what is to be placed."""
    group = parser.add_argument_group("workload")
    group.add_argument("--peak", type=options.power_mw, help="peak of one replica, e.g. 700W")
    group.add_argument(
        "--mean", type=options.power_mw, help="mean of one replica (default: its peak)"
    )
    group.add_argument(
        "--swing", choices=SWINGS, default="none", help="how much its power swings (default: none)"
    )
    group.add_argument(
        "--class", dest="class_id", default="", metavar="ID",
        help="32 hexadecimal digits: its class, of which a profile is known, instead of --peak",
    )  # fmt: skip
    group.add_argument("--replicas", type=int, default=1, help="how many (default: 1)")
    group.add_argument("--gang", default="", help="members of one gang peak together")
    group.add_argument("--priority", type=int, default=0, help="higher is more important")


def demand(args: argparse.Namespace) -> Demand:
    """Return what the options describe. Raises NoDemand."""
    from chipwatt.client import Demand, InlineProfile

    if (args.peak is None) == (not args.class_id):
        raise NoDemand("give either --peak, as --peak 700W, or --class with a class id.")
    if not 0 < args.replicas < 2**32 or not 0 <= args.priority < 2**32:
        raise NoDemand("--replicas is at least 1 and --priority at least 0.")
    inline = None
    if args.peak is not None:
        mean_mw = args.peak if args.mean is None else args.mean
        inline = InlineProfile(mean_mw, args.peak, SWINGS.index(args.swing))
    return Demand(
        class_id=args.class_id,
        inline=inline,
        replicas=args.replicas,
        gang_id=args.gang,
        priority=args.priority,
    )


def add_outlook(parser: argparse.ArgumentParser) -> None:
    """Add how far ahead to look, and how surely."""
    parser.add_argument(
        "--horizon", type=options.horizon_s, default=0, metavar="TIME",
        help="look this far ahead: 60s, 10min, 1h or 3h (default: 10min)",
    )  # fmt: skip
    parser.add_argument(
        "--quantile", type=options.quantile_ppm, default=0, metavar="SHARE",
        help="peaks stay below the prediction with this probability (default: 0.99)",
    )  # fmt: skip


def remarks(trust: Provenance) -> str:
    """Return the predictor and what weakens the answer, for people."""
    return ", ".join(
        word.lower().replace("_", " ") for word in (trust.predictor, *trust.quality) if word
    )
