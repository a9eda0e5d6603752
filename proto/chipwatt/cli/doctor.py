"""``chipwatt doctor``: what every power interface lacks on this host, and what would grant it."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chipwatt.cli import options
from chipwatt.cli.quantities import energy_text

_WIDTH = 100
_INDENT = "    "
_WANTING = ("blocked", "works in part")


def add_parser(subparsers: Any) -> None:
    """Add ``doctor`` to the command line."""
    parser = subparsers.add_parser(
        "doctor",
        help="what each power interface lacks here, and what grants it",
        description="Look at every power interface of this host: what is there, what is missing, "
        "and the exact file or command that would grant it. Changes nothing; to be run as the "
        "user that the agent runs as. Where pyRAPL is installed and may read, its counters are "
        "compared with ours for a second.",
    )
    parser.add_argument("--config", type=Path, help="the agent's TOML file (default: its defaults)")
    options.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the findings; a host that lacks everything is no fault."""
    from chipwatt.agent import config as agent_config
    from chipwatt.agent.apart import apart
    from chipwatt.agent.doctor.report import examine, plain
    from chipwatt.agent.doctor.workloads import schedulers

    config = agent_config.load(args.config)
    where = str(args.config) if args.config else "defaults"
    found = apart(
        lambda careful: examine(config.sensing, config.sources, where=where, careful=careful)
    )
    found["workloads"] = plain(schedulers(config.workloads, config.workload_socket))
    if args.json:
        print(json.dumps(found))
    else:
        print("\n".join(lines(found)))
    return 0


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the report for people."""
    yield from _wrapped(_host(found["host"]), "")
    others = (found[name] for name in ("deadlines", "units", "workloads"))
    for interface in (*found["interfaces"], *others):
        yield ""
        yield f"{interface['name']}: {interface['state'].upper()}"
        yield from _interface(interface)
    if found["cross_check"]:
        yield ""
        yield from _cross_check(found["cross_check"])
    blocked = [each["name"] for each in found["interfaces"] if each["state"] in _WANTING]
    yield ""
    if blocked:
        yield f"To be had here: {', '.join(blocked)}. Then: `chipwatt sensors`."
    else:
        yield "Nothing more is to be had here. `chipwatt sensors` shows what is read."


def _host(host: Mapping[str, Any]) -> str:
    parts = [host["cpu"] or "unknown processor", f"Linux {host['kernel']}"]
    if host["confidential_guest"]:
        parts.append(f"{host['confidential_guest']} guest")
    elif host["hypervisor"]:
        parts.append(f"guest of {host['hypervisor']}")
    if host["container"]:
        parts.append(f"in a container ({host['container']})")
    parts.append(f"checked as uid {host['uid']}")
    return f"chipwatt doctor: {', '.join(parts)}"


def _interface(interface: Mapping[str, Any]) -> Iterator[str]:
    for title in ("there", "missing"):
        for text in interface[title]:
            yield from _wrapped(f"{title + ':':<9}{text}", _INDENT)
    for note in interface["notes"]:
        yield from _wrapped(f"note:    {note}", _INDENT)
    told = interface["state"] == "blocked" or interface.get("source_reason") == "LIBRARY_FAILED"
    if told and interface.get("source_says"):
        yield from _wrapped(f"agent:   {interface['source_says']}", _INDENT)
    for remedy in interface["remedies"]:
        yield from _wrapped(f"to grant: {remedy['why']}", _INDENT)
        if remedy["file"]:
            yield f"{_INDENT * 2}write to {remedy['file']}:"
            yield from (f"{_INDENT * 3}{line}" for line in remedy["text"].splitlines())
        yield from (f"{_INDENT * 2}{command}" for command in remedy["commands"])


def _cross_check(check: Mapping[str, Any]) -> Iterator[str]:
    verdict = {True: "agrees with ours", False: "CONTRADICTS ours", None: "could not be compared"}
    yield f"cross-check over 1 s: {check['with']} {verdict[check['agrees']]}"
    if check["problem"]:
        yield from _wrapped(check["problem"], _INDENT)
    for each in check["counters"]:
        mark = "" if each["agrees"] else "   outside of our readings around it"
        yield (
            f"{_INDENT}{each['device']} {each['domain'].lower()}: "
            f"ours {energy_text(each['ours_uj'])}, theirs {energy_text(each['theirs_uj'])}{mark}"
        )


def _wrapped(text: str, indent: str) -> Iterator[str]:
    # A command or a path that is broken in two cannot be copied.
    yield from textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + " " * 9,
        break_long_words=False,
        break_on_hyphens=False,
    )
