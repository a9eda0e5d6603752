"""``chipwatt hosts``: which hosts report to a collector."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from typing import Any

from chipwatt.cli import options
from chipwatt.cli.quantities import duration_text
from chipwatt.cli.tables import Table, show


def add_parser(subparsers: Any) -> None:
    """Add ``hosts`` to the command line."""
    parser = subparsers.add_parser(
        "hosts",
        help="which hosts report",
        description="List the hosts that have reported to a collector.",
    )
    options.add_json(parser)
    options.add_collector(parser)


def run(args: argparse.Namespace) -> int:
    """Print one line a host."""
    with options.client(args) as collector:
        hosts = list(collector.hosts())
    if args.json:
        for host in hosts:
            print(json.dumps(asdict(host)))
        return 0
    table = Table(["host", "name", ">devices", "agent", "stream", ">last heard", ">clock offset"])
    now_unix_ns = time.time_ns()
    for host in hosts:
        version = host.agent_version
        table.rows.append(
            (
                host.host_id,
                host.name if host.name != host.host_id else "-",
                str(host.devices),
                f"{version // 1_000_000}.{version // 1_000 % 1_000}.{version % 1_000}",
                "connected" if host.connected else "not connected",
                f"{duration_text(max(1, now_unix_ns - host.last_seen_unix_ns))} ago",
                f"{host.clock_offset_ns / 1e6:+.1f} ms",
            )
        )
    if hosts:
        show(table)
    else:
        print("no host has reported yet; start `chipwatt agent` on one.")
    return 0
