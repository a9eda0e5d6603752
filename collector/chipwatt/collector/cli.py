"""``chipwatt collector``: options, one sentence for every fault, and the way into the server."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from chipwatt.core.errors import ChipwattError, ConfigError

_DESCRIPTION = """\
Take telemetry from agents, keep the books of every joule, and answer about power.
Without options it listens on 127.0.0.1:9733 and keeps its store in the state directory."""


def add_parser(subparsers: Any) -> None:
    """Add ``collector`` to the parser of ``chipwatt``."""
    parser = subparsers.add_parser(
        "collector",
        help="the daemon that keeps the books",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the options ask; returns the exit code. Raises ChipwattError."""
    # C-core would print its own account of what is told in one sentence here.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from chipwatt.collector import server  # after grpc's environment is set
    from chipwatt.core import log, settings

    config = _config(args)
    if args.print_config:
        in_force = replace(config, store=config.store_config())
        print(settings.dump(in_force), end="")
        return 0
    if args.check:
        for warning in server.check(config):
            print(f"warning: {warning}", file=sys.stderr)
        print("ok")
        return 0
    log.setup(config.log)
    os.umask(0o077)  # as under the unit: what is written here is for this user alone

    def ready(address: str) -> None:
        line = json.dumps({"listening": address, "pid": os.getpid()})
        if args.announce:
            print(line, flush=True)
        if args.ready_file is not None:
            scratch = args.ready_file.with_suffix(f".{os.getpid()}")
            scratch.write_text(line + "\n")
            scratch.replace(args.ready_file)

    asyncio.run(server.serve(config, ready))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m chipwatt.collector``; returns the exit code."""
    parser = argparse.ArgumentParser(prog="chipwatt collector", description=_DESCRIPTION)
    _add_options(parser)
    args = parser.parse_args(argv)
    try:
        return run(args)
    except ChipwattError as error:
        print(f"chipwatt collector: {error}", file=sys.stderr)
        return error.exit_code


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings, a TOML file")
    parser.add_argument(
        "--listen", metavar="ADDR", help="address and port, e.g. 127.0.0.1:9733; port 0: any free"
    )
    parser.add_argument("--state-dir", type=Path, metavar="DIR", help="where the store lies")
    parser.add_argument("--topology", type=Path, metavar="FILE", help="power topology, a TOML file")
    parser.add_argument(
        "--otlp-endpoint", metavar="URL", help="export metrics there, e.g. http://127.0.0.1:4317"
    )
    parser.add_argument(
        "--print-config", action="store_true", help="print the settings in force as TOML, and end"
    )
    parser.add_argument(
        "--check", action="store_true", help="check settings and topology, print ok, and end"
    )
    parser.add_argument(
        "--announce", action="store_true", help="print a line of JSON with the address once ready"
    )
    parser.add_argument(
        "--ready-file", type=Path, metavar="FILE", help="write that line to FILE once ready"
    )


def _config(args: argparse.Namespace) -> Any:
    from chipwatt.collector.config import CollectorConfig
    from chipwatt.core import settings

    config = settings.load(CollectorConfig, args.config)
    given = {
        name: getattr(args, name)
        for name in ("listen", "state_dir", "topology")
        if getattr(args, name) is not None
    }
    try:
        if args.otlp_endpoint is not None:
            given["otlp"] = replace(config.otlp, endpoint=args.otlp_endpoint)
        return replace(config, **given)
    except ValueError as error:
        raise ConfigError(f"command line: {error}") from None
