"""``chipwatt profile``: a device's power over time, by share of time, and in numbers."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

from chipwatt.cli import options, plots
from chipwatt.cli.live import ESTIMATED
from chipwatt.cli.quantities import (
    NOT_KNOWN,
    duration_text,
    energy_text,
    power_text,
    ramp_text,
    share_text,
)
from chipwatt.cli.rows import as_json
from chipwatt.cli.tables import Table, plain
from chipwatt.cli.tally import QUANTILES, Tally, tallies
from chipwatt.core.model import flag_names

if TYPE_CHECKING:
    from chipwatt.client import CollectorClient

_REFRESH_S = 2.0
_HOME_AND_CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def add_parser(subparsers: Any) -> None:
    """Add ``profile`` to the command line."""
    parser = subparsers.add_parser(
        "profile",
        help="a device's power as plots and percentiles",
        description="Plot a device's stored windows and print percentiles, peaks by time scale, "
        "ramps, swing and where the numbers come from.",
    )
    options.add_host(parser)
    parser.add_argument("--device", default="", help="e.g. cpu/0 or a part of it (default: all)")
    options.add_last(parser, "10min")
    options.add_json(parser)
    parser.add_argument("--watch", action="store_true", help="draw again every 2 s until Ctrl-C")
    options.add_collector(parser)


def run(args: argparse.Namespace) -> int:
    """Print one profile a sensor; what is added up first."""
    with options.client(args) as collector:
        while args.watch:
            text = _text(collector, args)
            print(_HOME_AND_CLEAR + text if sys.stdout.isatty() else text, flush=True)
            time.sleep(_REFRESH_S)
        print(_json(collector, args) if args.json else _text(collector, args))
    return 0


def _found(collector: CollectorClient, args: argparse.Namespace) -> tuple[str, list[Tally]]:
    host = options.pick_host(collector, args.host)
    info = options.pick_device(collector.devices(host.host_id).devices, args.device)
    windows = collector.windows(
        host.host_id, options.since_unix_ns(args), device=str(info.device) if info else ""
    )
    found = sorted(tallies(windows), key=lambda each: each.sort_key)
    return host.host_id, found


def _json(collector: CollectorClient, args: argparse.Namespace) -> str:
    host, found = _found(collector, args)
    profiles = [
        {**tally.as_json(), "over_time": [as_json(window) for window in tally.recent]}
        for tally in found
    ]
    return json.dumps({"host": host, "last_ns": args.last, "profiles": profiles})


def _text(collector: CollectorClient, args: argparse.Namespace) -> str:
    host, found = _found(collector, args)
    if not found:
        return f"host {host} has no windows in the last {duration_text(args.last)}."
    width = min(shutil.get_terminal_size((100, 24)).columns, 140)
    return "\n\n\n".join(profile_text(tally, width, colour=sys.stdout.isatty()) for tally in found)


def profile_text(tally: Tally, width: int, *, colour: bool) -> str:
    """Return everything about one sensor as text of at most ``width`` columns where that fits."""
    head = (
        f"{tally.device} {tally.name}: {energy_text(tally.energy_uj)} in "
        f"{duration_text(tally.time_ns)}, {tally.windows} windows"
    )
    parts = [head, ESTIMATED] if tally.estimated else [head]
    parts.append(plots.over_time(list(tally.recent), width, colour=colour))
    parts.append("time spent at each power\n" + plots.over_power(tally.histogram, width))
    parts += [plain(_power_table(tally)), plain(_provenance_table(tally))]
    return "\n\n".join(parts)


def _power_table(tally: Tally) -> Table:
    greatest, swing = tally.greatest, tally.swing
    frequency = swing.swing_frequency_mhz if swing else None
    throttled = tally.throttled_ms
    power = [
        ("mean", power_text(tally.mean_mw)),
        ("min", power_text(tally.min_mw)),
        *((f"p{round(q * 100)}", power_text(tally.quantile_mw(q))) for q in QUANTILES),
        ("max", power_text(greatest["max_mw"])),
    ]
    peaks = [
        ("peak 10 ms", power_text(greatest["peak_10ms_mw"])),
        ("peak 100 ms", power_text(greatest["peak_100ms_mw"])),
        ("peak 1 s", power_text(greatest["peak_1s_mw"])),
        ("rise 100 ms", ramp_text(greatest["rise_100ms_mw_per_s"])),
        ("fall 100 ms", ramp_text(greatest["fall_100ms_mw_per_s"])),
        ("rise 1 s", ramp_text(greatest["rise_1s_mw_per_s"])),
        ("fall 1 s", ramp_text(greatest["fall_1s_mw_per_s"])),
    ]
    others = [
        ("frequency", NOT_KNOWN if frequency is None else f"{frequency / 1000:.2f} Hz"),
        ("amplitude", power_text(swing.swing_amplitude_mw if swing else None)),
        ("share", share_text(swing.swing_share_ppm if swing else None)),
        ("limit", power_text(tally.latest.throttle.limit_mw if tally.latest else None)),
        *(
            (f"throttled, {name.removesuffix('_ms')}", _time_text(spent_ms))
            for name, spent_ms in throttled.items()
        ),
    ]
    beside = zip_longest(power, peaks, others, fillvalue=("", ""))
    return Table(
        ["power", ">", "peaks and ramps", ">", "swing and limit", ">"],
        [tuple(chain.from_iterable(row)) for row in beside],
    )


def _time_text(spent_ms: int | None) -> str:
    return NOT_KNOWN if spent_ms is None else f"{spent_ms / 1000:.1f} s"


def _provenance_table(tally: Tally) -> Table:
    source = tally.provenance
    counted = tally.counted
    return Table(
        ["sensor", "energy by", ">refresh", ">averaging", ">seen", ">polls due", ">fresh",
         ">repeated", ">dropped", ">epochs", "flags"],
        [
            (
                source.interface.name.lower() if source else NOT_KNOWN,
                source.method.name.lower() if source else NOT_KNOWN,
                duration_text(source.refresh_us * 1000 if source else None),
                duration_text(source.averaging_us * 1000 if source else None),
                share_text(tally.coverage_ppm),
                *(str(counted[name]) for name in ("expected", "got", "repeated", "dropped")),
                str(len(tally.epochs)),
                " ".join(flag_names(tally.flags)),
            )
        ],
    )  # fmt: skip
