"""``chipwatt sensing``: the process that reads sensors, started by a service manager.

It waits for the agent's socket, serves one agent until that leaves or something new
is to be opened, and ends; whoever started it starts it again.
"""

from __future__ import annotations

import argparse
import logging
import signal
import socket
import time
from pathlib import Path
from types import FrameType
from typing import Any

LOOK_S = 0.5
"""Between two looks for an agent."""
SAY_AGAIN_S = 600.0
_log = logging.getLogger(__name__)


def add_parser(subparsers: Any) -> None:
    """Mount ``sensing`` under the command ``chipwatt``."""
    parser = subparsers.add_parser(
        "sensing",
        help="the process that reads sensors, on its own",
        description="Read this host's sensors for an agent whose setting sensing_socket names the "
        "same socket. It needs no network and writes no file; a service manager starts it "
        "again whenever it ends. Without such a setting the agent starts it by itself.",
    )
    parser.add_argument(
        "--socket", type=Path, required=True, metavar="PATH", help="where the agent listens"
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the agent's TOML file; how sensors are read is then taken from it, whatever the "
        "agent says",
    )


def run(args: argparse.Namespace) -> int:
    """Serve one agent. Raises ConfigError, TraceError."""
    from chipwatt.agent import sensing_process
    from chipwatt.agent.sensing_config import own_settings

    logging.basicConfig(format="chipwatt sensing: %(message)s", level=logging.INFO)
    own = None if args.config is None else own_settings(args.config)
    signal.signal(signal.SIGTERM, _leave)
    sock = connect(args.socket)
    with sock:
        sensing_process.serve(sock, own)
    return 0


def connect(path: Path) -> socket.socket:
    """Return a connection to the agent, for which it waits as long as it takes."""
    said, said_s = "", 0.0
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(str(path))
        except OSError as error:
            sock.close()
            why = error.strerror or str(error)
            now_s = time.monotonic()
            if why != said or now_s - said_s > SAY_AGAIN_S:
                _log.info("waiting for the agent at %s: %s", path, why)
                said, said_s = why, now_s
            time.sleep(LOOK_S)
        else:
            return sock


def _leave(_signal: int, _frame: FrameType | None) -> None:
    """End while there is nothing to hand out yet."""
    raise SystemExit(0)
