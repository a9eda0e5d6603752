"""The command ``chipwatt``: loads one sub-command and turns faults into sentences."""

from __future__ import annotations

import argparse
import difflib
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from chipwatt.core.errors import ChipwattError

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
EXIT_IO = 74
_OUTPUT_FAULTS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Command:
    """One sub-command. Its module has ``add_parser(subparsers)`` and ``run(args) -> int``."""

    name: str
    help: str
    module: str
    group: str


COMMANDS = (
    Command("up", "watch this machine now: agent, collector, live table", "up", "Start here"),
    Command("sensors", "what can be measured here, why not the rest", "sensors", "Start here"),
    Command("doctor", "what each interface lacks, and what grants it", "doctor", "Start here"),
    Command("replay", "put a recorded trace through the whole system", "replay", "Start here"),
    Command("profile", "a device's power as plots and percentiles", "profile", "Ask a collector"),
    Command("hosts", "which hosts report", "hosts", "Ask a collector"),
    Command("query", "stored windows, seconds or gaps, also as JSON", "query", "Ask a collector"),
    Command("headroom", "power left under every budget", "headroom", "Ask a collector"),
    Command("otlp", "what leaves for a metrics back end", "otlp", "Ask a collector"),
    Command("rank", "which hosts can take a workload", "rank", "Place workloads"),
    Command("whatif", "what a change would do to budgets", "whatif", "Place workloads"),
    Command("reservations", "power set aside", "reservations", "Place workloads"),
    Command("events", "what happens to budgets, as it happens", "events", "Place workloads"),
    Command("adapter", "Kubernetes, Trimaran and Slurm plug in", "adapter", "Place workloads"),
    Command("agent", "the daemon of a host", "chipwatt.agent.cli", "Run a fleet"),
    Command("sensing", "reads sensors, as a unit", "chipwatt.agent.sensing_cli", "Run a fleet"),
    Command("workload", "say which workloads run on this host", "workload", "Run a fleet"),
    Command("raw", "raw readings, on this host alone", "raw", "Run a fleet"),
    Command("collector", "the daemon with the books", "chipwatt.collector.cli", "Run a fleet"),
    Command("certs", "certificates on one's own authority", "certs", "Run a fleet"),
    Command("completion", "completion script for your shell", "completion", "Run a fleet"),
)  # fmt: skip
_BY_NAME = {command.name: command for command in COMMANDS}


def version() -> str:
    """Return the installed distribution's version."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("chipwatt")
    except PackageNotFoundError:
        return "0+unknown"


def overview() -> str:
    """Return what a newcomer reads first."""
    lines = [f"chipwatt {version()}: chip-level power telemetry, exact to the microjoule"]
    group = ""
    for command in COMMANDS:
        if command.group != group:
            group = command.group
            lines += ["", group]
        lines.append(f"  chipwatt {command.name:<12} {command.help}")
    lines += [
        "",
        "New here? `chipwatt up` shows this machine's power; Ctrl-C ends it and nothing stays.",
        "`chipwatt COMMAND --help` explains a command; `chipwatt --version` names the version.",
    ]
    return "\n".join(lines)


def load(command: Command) -> ModuleType:
    """Import the module behind a command; a bare name is one of ours."""
    name = command.module if "." in command.module else f"chipwatt.cli.{command.module}"
    return importlib.import_module(name)


def parser_for(commands: Sequence[Command] = COMMANDS) -> argparse.ArgumentParser:
    """Build the parser with these commands in it; imports their modules."""
    parser = argparse.ArgumentParser(prog="chipwatt", description="Chip-level power telemetry.")
    parser.add_argument("--version", action="version", version=f"chipwatt {version()}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in commands:
        load(command).add_parser(subparsers)
    return parser


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; argparse's own exits pass through."""
    try:
        code = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except ChipwattError as error:
        print(f"chipwatt: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader has left; without this the interpreter complains at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except OSError as error:
        if error.errno not in _OUTPUT_FAULTS:
            raise
        # What is left in the buffer would fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"chipwatt: the output cannot be written: {error.strerror}", file=sys.stderr)
        return EXIT_IO
    return code


def _dispatch(argv: list[str]) -> int:
    if argv and argv[0] == "help":
        argv = [*argv[1:2], "--help"]
    if not argv or argv[0] in ("-h", "--help"):
        print(overview())
        return 0
    if argv[0] == "--version":
        print(f"chipwatt {version()}")
        return 0
    command = _BY_NAME.get(argv[0])
    if command is None:
        return _unknown(argv[0])
    module = load(command)
    return int(module.run(parser_for([command]).parse_args(argv)))


def _unknown(name: str) -> int:
    near = difflib.get_close_matches(name, _BY_NAME, 1)
    what = "option" if name.startswith("-") else "command"
    hint = f"did you mean `chipwatt {near[0]}`?" if near else "`chipwatt` alone lists them all."
    print(f"chipwatt: no {what} is called {name!r}; {hint}", file=sys.stderr)
    return EXIT_USAGE
