"""``chipwatt agent``: the daemon of a host."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from chipwatt.core.errors import ChipwattError

_DESCRIPTION = """\
Measure this host's power and deliver it to a collector.

The agent reads every power sensor that it may read, reduces the readings on the
spot, keeps the results on disk until the collector has them on its own, and
survives restarts of either. Ctrl-C or SIGTERM ends it; what is not delivered by
then waits in the state directory for the next start."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings (TOML)")
    parser.add_argument(
        "--collector", metavar="ADDR", help="collector's host:port (default 127.0.0.1:9733)"
    )
    parser.add_argument(
        "--state-dir", type=Path, metavar="DIR", help="folder of what waits for the collector"
    )
    parser.add_argument(
        "--sensing-socket",
        type=Path,
        metavar="PATH",
        help="meet a sensing process that somebody else starts here, and start none",
    )
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="print every setting in force, with its meaning, as a file that --config reads",
    )
    parser.add_argument(
        "--check", action="store_true", help="check settings and files, then end; starts nothing"
    )
    parser.add_argument(
        "--until-delivered",
        action="store_true",
        help="end once a replay has come to its end and the collector has all of it",
    )


def add_parser(subparsers: Any) -> None:
    """Mount ``agent`` under the command ``chipwatt``."""
    add_arguments(subparsers.add_parser("agent", help="the daemon of a host"))


def run(args: argparse.Namespace) -> int:
    """Do what the options ask for and return the exit code; raises ChipwattError."""
    # Our own lines say what matters of gRPC's.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from chipwatt.agent import config as configs

    config = configs.load(args.config, args.collector, args.state_dir)
    if args.sensing_socket is not None:
        config = replace(config, sensing_socket=args.sensing_socket)
    if args.print_config or args.check:
        return _show(config, str(args.config or "defaults"), check=args.check)
    from chipwatt.agent.daemon import serve

    os.umask(0o077)  # as under the unit: what is written here is for this user alone
    serve(config, until_delivered=args.until_delivered)
    return 0


def _show(config: Any, where: str, *, check: bool) -> int:
    from chipwatt.agent.channel import read_credentials
    from chipwatt.agent.config import complete
    from chipwatt.agent.workload_socket import check_place
    from chipwatt.core import settings

    complete_config = complete(config, where)
    if not check:
        print(settings.dump(complete_config), end="")
        return 0
    read_credentials(config.tls)
    _check_replay(complete_config.sources["replay"].file, where)
    reachable = config.workloads.socket or os.access(config.state_dir, os.X_OK)
    if config.workloads.is_chosen and reachable:
        check_place(config.workload_socket, config.workloads.group)
    print(f"{where}: right; spool in {config.state_dir}, collector {config.collector}")
    return 0


def _check_replay(file: Path | None, where: str) -> None:
    from chipwatt.core.errors import ConfigError

    if file is not None and not file.is_file():
        raise ConfigError(f"{where}: [sources.replay]: file: there is no file {file}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program of its own."""
    parser = argparse.ArgumentParser(prog="chipwatt agent")
    add_arguments(parser)
    try:
        return run(parser.parse_args(arguments))
    except ChipwattError as error:
        print(f"chipwatt agent: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
