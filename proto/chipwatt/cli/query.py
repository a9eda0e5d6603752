"""``chipwatt query``: what a collector has stored, as a table or as one JSON object a line."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from chipwatt.cli import books, options, rows
from chipwatt.cli.quantities import energy_text, power_text, share_text
from chipwatt.cli.tables import Table, show
from chipwatt.cli.tally import sensor_name
from chipwatt.client.values import ConflictInfo, OpenGap
from chipwatt.core.model import Domain, Statistic, flag_names
from chipwatt.core.records import DeviceWindow, Gap, HostSecond

if TYPE_CHECKING:
    from chipwatt.client import CollectorClient

_MOST_ROWS_SHOWN = 200
_RESOLUTIONS = {"finest": 0, "10s": 10, "1min": 60, "10min": 600, "1h": 3600}
_DOMAINS = tuple(domain.name.lower() for domain in Domain)
_STATISTICS = tuple(statistic.name.lower() for statistic in Statistic)


def add_parser(subparsers: Any) -> None:
    """Add ``query`` to the command line."""
    parser = subparsers.add_parser(
        "query",
        help="stored windows, seconds, gaps, conflicts, and the books' status",
        description="Print what a collector has stored: device windows, host seconds, gaps (and "
        "those that have not ended), batches put aside because they contradict stored ones, or the "
        "collector's own status.",
    )
    parser.add_argument("what", choices=("windows", "seconds", "gaps", "conflicts", "status"))
    options.add_last(parser, "1min")
    options.add_host(parser)
    parser.add_argument("--device", default="", help="windows: this device only, e.g. cpu/0")
    parser.add_argument("--domain", choices=_DOMAINS, help="windows: this domain only")
    parser.add_argument(
        "--statistic",
        choices=_STATISTICS,
        help="windows: from counters, instantaneous gauges or averaging ones only",
    )
    parser.add_argument(
        "--resolution",
        choices=tuple(_RESOLUTIONS),
        default="finest",
        help="windows: the finest kept, or one roll-up",
    )
    options.add_json(parser)
    options.add_collector(parser)


def run(args: argparse.Namespace) -> int:
    """Print what is stored, oldest first."""
    with options.client(args) as collector:
        if args.what == "status":
            books.show_status(collector.status(), as_json=args.json)
            return 0
        if args.what == "conflicts":
            host = options.pick_host(collector, args.host).host_id if args.host else ""
            _print(collector.conflicts(host), _CONFLICT_HEADINGS, args.json)
            return 0
        host = options.pick_host(collector, args.host).host_id
        start_unix_ns = options.since_unix_ns(args)
        if args.what == "windows":
            _print(_windows(collector, host, start_unix_ns, args), _WINDOW_HEADINGS, args.json)
        elif args.what == "seconds":
            _print(collector.host_seconds(host, start_unix_ns), _SECOND_HEADINGS, args.json)
        else:
            still_open = collector.open_gaps(host, start_unix_ns)
            gaps: Iterator[rows.Record] = chain(collector.gaps(host, start_unix_ns), still_open)
            _print(gaps, _GAP_HEADINGS, args.json)
    return 0


def _windows(
    collector: CollectorClient, host: str, start_unix_ns: int, args: argparse.Namespace
) -> Iterator[DeviceWindow]:
    info = options.pick_device(collector.devices(host).devices, args.device)
    return collector.windows(
        host,
        start_unix_ns,
        device=str(info.device) if info else "",
        domain=Domain[args.domain.upper()] if args.domain else None,
        statistic=Statistic[args.statistic.upper()] if args.statistic else None,
        resolution_ns=_RESOLUTIONS[args.resolution] * 10**9,
    )


_WINDOW_HEADINGS = (
    "start", ">length", "device", "domain", ">energy", ">mean", ">min", ">max", ">seen", "flags",
)  # fmt: skip
_SECOND_HEADINGS = ("start", ">length", ">cpu", ">gpu", ">memory", ">other", ">peak", "flags")
_GAP_HEADINGS = (
    "start", ">length", "device", "domain", ">at least", ">at most", "reason", "state",
)  # fmt: skip
_CONFLICT_HEADINGS = ("received", "host", "boot", "spool epoch", ">sequence")


def _cells(record: rows.Record) -> tuple[str, ...]:
    if isinstance(record, ConflictInfo):
        return (
            _clock_text(record.received_unix_ns),
            record.host_id,
            record.boot_id,
            f"{record.spool_epoch:016x}",
            str(record.sequence),
        )
    when = (_clock_text(record.start_unix_ns), f"{record.duration_ns / 1e9:.3f} s")
    if isinstance(record, HostSecond):
        energies = (record.cpu_mj, record.gpu_mj, record.memory_mj, record.other_mj)
        return (
            *when,
            *(energy_text(energy_mj * 1000) for energy_mj in energies),
            power_text(record.total_peak_mw),
            " ".join(flag_names(record.flags)),
        )
    whose = (str(record.device), sensor_name(record.domain, record.statistic))
    if isinstance(record, Gap):
        bounds = (energy_text(record.lower_uj), energy_text(record.upper_uj))
        return (*when, *whose, *bounds, record.reason.name.lower().replace("_", " "), "closed")
    if isinstance(record, OpenGap):
        most = "not known" if record.upper_uj is None else energy_text(record.upper_uj)
        reason = record.reason.replace("_", " ")
        return (*when, *whose, energy_text(record.lower_uj), most, reason, "open")
    profile = record.profile
    return (
        *when,
        *whose,
        energy_text(record.energy_uj),
        power_text(profile.mean_mw),
        power_text(profile.min_mw),
        power_text(profile.max_mw),
        share_text(record.provenance.coverage_ppm),
        " ".join(flag_names(record.flags)),
    )


def _print(records: Iterable[rows.Record], headings: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        for record in records:
            print(json.dumps(rows.as_json(record)))
        return
    cells = [_cells(record) for record in records]
    if not cells:
        if headings is _CONFLICT_HEADINGS:
            print("no batch contradicts a stored one.")
        else:
            print("nothing is stored for this time; try a longer --last.")
        return
    show(Table(headings, list(cells[-_MOST_ROWS_SHOWN:])))
    if len(cells) > _MOST_ROWS_SHOWN:
        print(f"the newest {_MOST_ROWS_SHOWN} of {len(cells)}; --json prints all.")


def _clock_text(unix_ns: int) -> str:
    return time.strftime("%m-%d %H:%M:%S", time.localtime(unix_ns // 10**9))
