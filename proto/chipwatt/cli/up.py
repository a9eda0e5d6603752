"""``chipwatt up``: agent and collector on this host, and what they see, live."""

from __future__ import annotations

import argparse
import json
import os
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chipwatt.cli import options, toml
from chipwatt.cli.children import ChildFailed
from chipwatt.cli.cost import CostMeter
from chipwatt.cli.interrupts import Interrupts
from chipwatt.cli.live import Seen
from chipwatt.cli.screen import open_screen
from chipwatt.cli.station import Station
from chipwatt.cli.summary import Summary
from chipwatt.core.errors import CollectorUnreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chipwatt.client import CollectorClient, CollectorStatus, DeviceInfo

_BEAT_S = 1.0
_LOOK_BACK_NS = 60 * 10**9
"""A device that has gone silent must not make every query longer."""


def add_parser(subparsers: Any) -> None:
    """Add ``up`` to the command line."""
    parser = subparsers.add_parser(
        "up",
        help="watch this machine now: agent, collector, live table",
        description="Start an agent and a collector on this host and show what they see until "
        "Ctrl-C. Nothing stays behind unless --state-dir says where.",
    )
    parser.add_argument(
        "--for",
        dest="time_ns",
        type=options.duration_ns,
        metavar="TIME",
        help="end after 20s, 5min",
    )
    parser.add_argument(
        "--json", action="store_true", help="no table; a JSON object on the last line at the end"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="the agent's TOML file")
    parser.add_argument(
        "--window",
        default="2s",
        metavar="TIME",
        help="length of a device's window (default: 2s, so that it moves)",
    )
    parser.add_argument("--state-dir", type=Path, metavar="DIR", help="keep spool and store here")
    parser.add_argument(
        "--listen",
        default="",
        metavar="ADDR",
        help="the collector's address (default: any free port)",
    )
    parser.add_argument("--topology", type=Path, metavar="FILE", help="power topology, a TOML file")
    parser.add_argument(
        "--otlp-endpoint", metavar="URL", help="export metrics there, e.g. http://127.0.0.1:4317"
    )


def run(args: argparse.Namespace) -> int:
    """Watch until told to stop, then sum up."""
    os.umask(0o077)
    options.duration_ns(args.window)
    agent_settings = _agent_settings(args)
    with Station(args.state_dir) as station, Interrupts() as stop:
        address = station.start_collector(_collector_settings(args), args.listen)
        with station.client() as collector:
            before = collector.status()
            started_ns = time.monotonic_ns()
            station.start_agent({**agent_settings, "collector": address})
            watch = _Watch(station, collector, address, started_ns, args)
            failed = watch.until_over(stop)
            costs = watch.meter.costs()
            # What the sensors last said counts from here on: the rest is the end's own doing.
            watch.seen.now_unix_ns = time.time_ns()
            station.stop_agent()
            after = watch.last_look(before)
            summary = Summary(
                address=address,
                elapsed_ns=time.monotonic_ns() - started_ns,
                seen=watch.seen,
                before=before,
                after=after,
                host=watch.host,
                devices=watch.devices,
                agent=station.agent_status(),
                costs=costs,
                start_cpu_ns=watch.meter.start_cpu_ns,
                state_dir=args.state_dir,
                failed=[str(failed)] if failed else (),
            )
    print(json.dumps(summary.as_json()) if args.json else summary.text())
    if failed is not None:
        raise failed
    return 0


class _Watch:
    """Asks the collector once a second and shows the answer."""

    def __init__(
        self,
        station: Station,
        collector: CollectorClient,
        address: str,
        started_ns: int,
        args: argparse.Namespace,
    ) -> None:
        self.seen = Seen()
        self.host = ""
        self.devices: Sequence[DeviceInfo] = ()
        self.meter = CostMeter(station.agent_pid)
        self._station = station
        self._collector = collector
        self._started_ns = started_ns
        self._time_ns: int | None = args.time_ns
        self._look_back_ns = _LOOK_BACK_NS + 2 * options.duration_ns(args.window)
        self._screen = open_screen(address, station.tls, quiet=args.json)

    def until_over(self, stop: Interrupts) -> ChildFailed | None:
        """Watch until the end; returns why it came where a child ended before it was told to."""
        try:
            self._until(stop)
        except ChildFailed as error:
            return error
        except CollectorUnreachable:
            try:
                self._station.check()  # a dead collector cannot answer: it is the child that failed
            except ChildFailed as error:
                return error
            raise
        return None

    def last_look(self, before: CollectorStatus) -> CollectorStatus:
        """Take in what came last; returns the collector's counters, ``before`` where it is gone."""
        try:
            self.look()
            if self.host:
                self.devices = self._collector.devices(self.host).devices
            return self._collector.status()
        except CollectorUnreachable:
            return before

    def _until(self, stop: Interrupts) -> None:
        """Watch until the time is over or somebody interrupts. Raises ChildFailed."""
        with self._screen:
            while not stop.wait(self._next_beat_s()):
                self._station.check()
                self.look()
                self.seen.now_unix_ns = time.time_ns()
                elapsed_ns = time.monotonic_ns() - self._started_ns
                self._screen.show(self.seen, elapsed_ns)
                if self._time_ns is not None and elapsed_ns >= self._time_ns:
                    return

    def look(self) -> None:
        """Take in what has arrived since the last look."""
        if not self.host:
            hosts = sorted(self._collector.hosts(), key=lambda each: each.last_seen_unix_ns)
            if not hosts or not hosts[-1].devices:
                return  # it has said hello and no more
            self.host = hosts[-1].host_id
        oldest_unix_ns = time.time_ns() - self._look_back_ns
        windows_unix_ns = max(self.seen.windows_since_unix_ns, oldest_unix_ns)
        seconds_unix_ns = max(self.seen.seconds_since_unix_ns, oldest_unix_ns)
        self.seen.take(
            self._collector.windows(self.host, windows_unix_ns),
            self._collector.host_seconds(self.host, seconds_unix_ns),
        )
        if self.seen.seconds:
            self.meter.begin()

    def _next_beat_s(self) -> float:
        elapsed_s = (time.monotonic_ns() - self._started_ns) / 1e9
        left_s = _BEAT_S - elapsed_s % _BEAT_S
        if self._time_ns is not None:
            left_s = min(left_s, max(0.0, self._time_ns / 1e9 - elapsed_s))
        return left_s


def _agent_settings(args: argparse.Namespace) -> dict[str, object]:
    """Return the agent's own settings with those that make the table move. Raises ConfigError."""
    own: dict[str, object] = {}
    if args.config is not None:
        from chipwatt.agent import config as agent_config

        # Checked here, for the child would name a file that nobody knows.
        agent_config.complete(agent_config.load(args.config), str(args.config))
        own = tomllib.loads(args.config.read_text())
    # Its collector is its own: an agent that already serves another is not counted twice.
    sensing = {"window": args.window, "batch": "1s", "exclusive": False}
    return toml.merged(own, {"sensing": sensing})


def _collector_settings(args: argparse.Namespace) -> dict[str, object]:
    settings: dict[str, object] = {}
    if args.topology is not None:
        settings["topology"] = args.topology.resolve()
    if args.otlp_endpoint is not None:
        settings["otlp"] = {"endpoint": args.otlp_endpoint}
    return settings
