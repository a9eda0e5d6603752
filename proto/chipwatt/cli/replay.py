"""``chipwatt replay``: a recorded trace through the whole system, checked to the microjoule."""

from __future__ import annotations

import argparse
import json
import shlex
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chipwatt.cli.quantities import duration_text, energy_text
from chipwatt.cli.station import Station
from chipwatt.cli.tables import Table, printable, show
from chipwatt.core.errors import ConfigError

if TYPE_CHECKING:
    from chipwatt.agent.trace.model import Trace, TraceDevice
    from chipwatt.client import CollectorClient
    from chipwatt.core.identity import DeviceId

EXIT_DIFFERS = 1
_MARGIN_S = 120.0
"""Starting, finishing and storing, beside the time that the trace itself takes."""
_FOREVER = "36500d"


def add_parser(subparsers: Any) -> None:
    """Add ``replay`` to the command line."""
    parser = subparsers.add_parser(
        "replay",
        help="put a recorded trace through the whole system",
        description="Play a recorded power trace through sampler, ledger, spool, gRPC and store, "
        "then compare what is stored with the trace's own exact integral. Exit code 1 where they "
        "differ.",
    )
    parser.add_argument("file", type=Path, help="the trace; recognised by its content")
    parser.add_argument(
        "--speed", default="max", help="seconds of the trace a second: 1, 60, or max (the default)"
    )
    parser.add_argument(
        "--state-dir", type=Path, metavar="DIR", help="keep spool and store here, to look at later"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One device of the trace: what the store holds beside what the trace says."""

    label: str
    device: DeviceId
    stored_uj: int
    trace_uj: int
    """Of the values as they are played: whole mW, or µJ of a counter."""
    rounded_to_mw: bool
    """Whether the file has more digits than that."""
    rounding_uj: int
    """What those digits come to: the file's own integral less ``trace_uj``."""


def run(args: argparse.Namespace) -> int:
    """Replay and compare."""
    from chipwatt.agent.sources.replay import speed_of
    from chipwatt.agent.trace.reader import read_trace

    try:
        speed = speed_of(args.speed)
    except ValueError as error:
        raise ConfigError(f"--speed: {error}.") from None
    trace = read_trace(args.file)
    trace_s = (trace.end_unix_ns - trace.start_unix_ns) / 1e9
    started_ns = time.monotonic_ns()
    compared = _replay(args, trace, _MARGIN_S + (float(trace_s / speed) if speed else 0.0))
    elapsed_ns = time.monotonic_ns() - started_ns
    same = all(each.stored_uj == each.trace_uj for each in compared)
    if args.json:
        print(json.dumps(_as_json(trace, compared)))
    else:
        _show(args, trace, compared, elapsed_ns)
    return 0 if same else EXIT_DIFFERS


def _replay(args: argparse.Namespace, trace: Trace, timeout_s: float) -> list[Comparison]:
    from chipwatt.agent.sources.replay import ReplayConfig, ReplaySource

    source = ReplaySource(ReplayConfig(file=args.file))
    devices = {sensor.label: sensor.device for sensor in source.open()}
    source.close()
    with Station(args.state_dir) as station:
        address = station.start_collector({"store": _keep_everything()})
        with station.client() as collector:
            before = _stored_uj(collector)
            replay = {"file": args.file.resolve(), "speed": args.speed}
            settings = {"collector": address, "sources": {"replay": replay}}
            # The spool of a replay before would go on behind its last sample.
            station.forget_agent()
            station.start_agent(settings, "--until-delivered")
            station.wait_for_agent(timeout_s)
            after = _stored_uj(collector)
    return [
        Comparison(
            device.label,
            devices[device.label],
            after[devices[device.label]] - before[devices[device.label]],
            device.energy_uj,
            device.rounded is not None,
            device.rounding_uj,
        )
        for device in trace.devices
    ]


def _stored_uj(collector: CollectorClient) -> Mapping[DeviceId, int]:
    """Sum the stored windows by device, as the query API gives them."""
    sums: Counter[DeviceId] = Counter()
    for host in collector.hosts():
        for window in collector.windows(host.host_id):
            sums[window.device] += window.energy_uj
    return sums


def _keep_everything() -> dict[str, object]:
    # A trace may be older than any retention that suits a fleet.
    return {f"retention_{tier}": _FOREVER for tier in ("raw", "1min", "10min", "1h")}


def _as_json(trace: Trace, compared: list[Comparison]) -> dict[str, Any]:
    return {
        "devices": {
            each.label: {
                "stored_uj": each.stored_uj,
                "trace_uj": each.trace_uj,
                "rounded_to_mw": each.rounded_to_mw,
                "rounding_uj": each.rounding_uj,
            }
            for each in compared
        },
        "skipped_rows": trace.skipped_rows,
        "skipped": dict(trace.skipped),
    }


def _show(
    args: argparse.Namespace, trace: Trace, compared: list[Comparison], elapsed_ns: int
) -> None:
    table = Table(["in the trace", "device", ">energy", ">stored µJ", ">trace µJ", ">difference"])
    for each in compared:
        table.rows.append(
            (
                each.label,
                str(each.device),
                energy_text(each.stored_uj),
                str(each.stored_uj),
                str(each.trace_uj),
                str(each.stored_uj - each.trace_uj),
            )
        )
    show(table)
    rows = sum(len(device.stamps_unix_ns) for device in trace.devices)
    print(
        f"\n{args.file.name}: {trace.format}; {rows} rows over "
        f"{duration_text(trace.end_unix_ns - trace.start_unix_ns)}, replayed in "
        f"{duration_text(elapsed_ns)}"
    )
    for reason, count in trace.skipped.items():
        print(f"skipped {count} rows: {reason}")
    for device in trace.devices:
        if device.holes.number:
            print(_holes_text(device))
    for each in compared:
        if each.rounded_to_mw:
            print(
                f"{printable(each.label)} is played in whole mW; by all its digits the file has "
                f"{each.trace_uj + each.rounding_uj} µJ, {each.rounding_uj:+} µJ beside the above"
            )
    if any(each.stored_uj != each.trace_uj for each in compared):
        print("DIFFERENT: what is stored is not what the trace says; please report this.")
    elif args.state_dir is None:
        print("equal to the microjoule. --state-dir DIR keeps the store, to draw and query it.")
    else:
        print(f"equal to the microjoule. To look at it:\n{_how_to_look(args.state_dir, trace)}")


def _holes_text(device: TraceDevice) -> str:
    from chipwatt.agent.sensing.contract import Quantity

    holes = device.holes
    course = "a straight line through them"
    if device.quantity is Quantity.ENERGY_UJ:
        course = "the counter says how much was drawn in them, not when"
    elif holes.gaps:
        course = f"{holes.gaps} of more than 30 s without energy, {course} otherwise"
    return (
        f"{printable(device.label)}: holes in the recording: {holes.number}, the longest "
        f"{duration_text(holes.longest_ns)}; {course}"
    )


def _how_to_look(state_dir: Path, trace: Trace) -> str:
    days = (time.time_ns() - trace.start_unix_ns) // (86_400 * 10**9) + 1
    config = shlex.quote(str(state_dir / "collector.toml"))
    store = shlex.quote(str(state_dir / "collector"))
    tls = shlex.quote(str(state_dir / "tls"))
    return (
        f"  chipwatt collector --config {config} --state-dir {store}\n"
        f"  chipwatt profile --last {days}d --tls {tls}     # in a second terminal"
    )
