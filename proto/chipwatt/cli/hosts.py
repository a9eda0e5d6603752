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
from chipwatt.client.values import HostInfo


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
    table = Table(
        ["host", "name", ">devices", "agent", "stream", ">last heard", ">clock offset", "noted"]
    )
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
                _offset_text(host.clock_offset_ns),
                _noted(host),
            )
        )
    if hosts:
        show(table)
    else:
        print("no host has reported yet; start `chipwatt agent` on one.")
    return 0


def _offset_text(offset_ns: int) -> str:
    """Say how far a clock is ahead of the collector's, in the unit that fits."""
    if abs(offset_ns) < 10**10:
        return f"{offset_ns / 1e6:+.1f} ms"
    return f"{'+' if offset_ns > 0 else '-'}{duration_text(abs(offset_ns))}"


def _noted(host: HostInfo) -> str:
    """Say what did not go as it should, by reason; ``-`` where everything did."""
    noted = [f"{reason} {count}" for reason, count in sorted(host.counted.items())]
    if host.missing_batches:
        noted.append(f"missing {host.missing_batches}")
    return ", ".join(noted) or "-"
