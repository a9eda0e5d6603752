"""``chipwatt sensors``: what this host can be measured with, and why the rest is missing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chipwatt.cli import options
from chipwatt.cli.quantities import duration_text, power_text
from chipwatt.cli.tables import Table, show

_ESTIMATED = (
    "ESTIMATED: no sensor covers the devices so marked; their power comes from CPU time and a\n"
    "power model. The list of absent interfaces says what would grant a real one."
)


def add_parser(subparsers: Any) -> None:
    """Add ``sensors`` to the command line."""
    parser = subparsers.add_parser(
        "sensors",
        help="what can be measured here, and why the rest cannot",
        description="Find every power sensor of this host, measure its refresh, averaging and cost "
        "for some seconds, and say of every interface that gives none why, and what to do.",
    )
    parser.add_argument("--config", type=Path, help="the agent's TOML file (default: its defaults)")
    parser.add_argument(
        "--measure",
        type=options.duration_ns,
        metavar="TIME",
        help="listen this long at most (default: 5s); averaging shows only while the load moves",
    )
    options.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the report; a host without sensors is no fault."""
    from chipwatt.agent import config as agent_config
    from chipwatt.agent.apart import apart
    from chipwatt.agent.sensors_report import LISTEN_NS, report

    config = agent_config.load(args.config)
    where = str(args.config) if args.config else "defaults"
    listen_ns = LISTEN_NS if args.measure is None else args.measure
    found = apart(
        lambda careful: report(
            config.sensing, config.sources, where=where, listen_ns=listen_ns, careful=careful
        )
    )
    if args.json:
        print(json.dumps(found))
        return 0
    show(*tables(found["interfaces"]))
    for remark in remarks(found["interfaces"]):
        print(f"\n{remark}")
    if found["estimated"]:
        print(f"\n{_ESTIMATED}")
    print("\nNext: `chipwatt up` shows these live.")
    return 0


def remarks(interfaces: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what the tables cannot say: how sure, and what could not be seen."""
    sensors = [sensor for each in interfaces for sensor in each.get("sensors", ())]
    if not any("refresh_from" in sensor for sensor in sensors):
        return []
    told = [
        "Refresh and averaging: with ± or ≤ they were measured here; `says` is the maker's word."
    ]
    unseen = sum(sensor.get("averaging_not_seen", False) for sensor in sensors)
    if unseen:
        told.append(
            f"Averaging of {unseen} gauge{'s' * (unseen > 1)}: load too steady to see, or a window "
            "shorter than the refresh.\nRun it again while the load moves, or for longer with "
            "--measure 30s."
        )
    return told


def tables(interfaces: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Return one table of sensors and one of absent interfaces; either only where it has rows."""
    sensors = Table(
        ["source", "device", "domain", "reads", "label", "energy by", ">power now", ">refresh",
         ">averaging", ">polled each", ">cost of a poll", "flags"],
        title="Sensors",
    )  # fmt: skip
    absent = Table(["interface", "why", "more"], title="Absent interfaces")
    for interface in interfaces:
        if not interface["present"]:
            reason = str(interface["reason"]).lower().replace("_", " ")
            absent.rows.append((interface["name"], reason, interface["detail"]))
        for sensor in interface.get("sensors", ()):
            sensors.rows.append(
                (
                    interface["name"],
                    sensor["device"],
                    ("" if sensor["root"] else "  ") + sensor["domain"].lower(),
                    sensor["statistic"].lower(),
                    sensor["label"],
                    sensor["method"].lower(),
                    power_text(sensor.get("power_mw")),
                    _found(sensor, "refresh"),
                    _found(sensor, "averaging"),
                    duration_text(sensor.get("period_us", 0) * 1000),
                    duration_text(sensor.get("call_cost_ns", 0)),
                    " ".join(sensor["flags"]),
                )
            )
    return [table for table in (sensors, absent) if table.rows]


def _found(sensor: Mapping[str, Any], what: str) -> str:
    """Return ``100 ms ±5.0 ms``, ``≤300 ms``, ``says 1.00 s``, ``unknown`` or ``-``."""
    time_us, source = sensor.get(f"{what}_us", 0), sensor.get(f"{what}_from")
    text = duration_text(time_us * 1000)
    if source == "measured":
        wrong_us = sensor[f"{what}_uncertainty_us"]
        wrong = duration_text(wrong_us * 1000)
        return f"≤{wrong}" if wrong_us >= time_us else f"{text} ±{wrong}"
    if source == "documented":
        return f"says {text}"
    return source or text
