"""``chipwatt events``: what happens to budgets, as it happens, with advice on what to cap."""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from chipwatt.cli import options
from chipwatt.cli.quantities import power_text
from chipwatt.cli.tables import printable

if TYPE_CHECKING:
    from chipwatt.client import CollectorClient, EventNotice, PowerEvent

_SEVERITIES = ("info", "warning", "critical")


def add_parser(subparsers: Any) -> None:
    """Add ``events`` to the command line."""
    parser = subparsers.add_parser(
        "events",
        help="what happens to budgets, as it happens",
        description="Print power events as they come, until Ctrl-C.",
    )
    parser.add_argument("--beneath", default="", metavar="NODE", help="this node and all beneath")
    parser.add_argument(
        "--severity", choices=_SEVERITIES, default="info", help="at least this (default: info)"
    )
    parser.add_argument(
        "--resume", default="", metavar="TOKEN", help="go on after this one, see --json"
    )
    parser.add_argument(
        "--for", dest="for_ns", type=options.duration_ns, metavar="TIME", help="end after this time"
    )
    options.add_json(parser)
    options.add_collector(parser)


def run(args: argparse.Namespace) -> int:
    """Print one line an event."""
    from chipwatt.client import RequestCancelled, Selector

    with options.client(args) as collector, _until(collector, args.for_ns) as ended:
        notices = collector.watch_events(
            selector=Selector(beneath_id=args.beneath) if args.beneath else None,
            min_severity=args.severity,
            resume_token=args.resume,
        )
        try:
            for notice in notices:
                text = json.dumps(asdict(notice)) if args.json else _text(notice)
                if text:
                    print(text, flush=True)
        except RequestCancelled:
            if not ended.is_set():
                raise
    return 0


@contextmanager
def _until(collector: CollectorClient, for_ns: int | None) -> Iterator[threading.Event]:
    """Close the channel after ``for_ns``, if given; the event tells that it was so."""
    ended = threading.Event()

    def end() -> None:
        ended.set()
        collector.close()

    timer = threading.Timer((for_ns or 0) / 1e9, end)
    timer.daemon = True
    if for_ns is not None:
        timer.start()
    try:
        yield ended
    finally:
        timer.cancel()


def _text(notice: EventNotice) -> str:
    event = notice.event
    lines = ["(events before this one are no longer kept)"] if notice.missed else []
    if event is None:
        return "\n".join(lines)
    clock = time.strftime("%m-%d %H:%M:%S", time.localtime(event.at_unix_ns // 10**9))
    lines.append(f"{clock}  {event.severity:<8}  {printable(event.node_id)}  {_what(event)}")
    lines += [
        f"  advice {advice.order + 1}: cap {printable(advice.target_id)} at "
        f"{power_text(advice.cap_mw)}, which saves {power_text(advice.expected_saving_mw)}"
        for advice in sorted(event.cap_advice, key=lambda advice: advice.order)
    ]
    return "\n".join(lines)


def _what(event: PowerEvent) -> str:
    kind = event.kind.replace("_", " ")
    if event.kind == "cleared":
        kind = f"over: {event.cleared_kind.replace('_', ' ')}"
    numbers = [power_text(event.observed_mw)] if event.observed_mw else []
    numbers += [f"of {power_text(event.limit_mw)}"] if event.limit_mw else []
    numbers += [f"trips in {event.time_to_trip_s} s"] if event.time_to_trip_s else []
    return " ".join([kind, *numbers])
