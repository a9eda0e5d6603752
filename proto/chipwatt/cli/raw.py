"""``chipwatt raw``: the raw readings of the last minutes, of this host alone."""

from __future__ import annotations

import argparse
import csv
import json
import socket
import struct
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from chipwatt.core.errors import ChipwattError

_SIZE = struct.Struct("<I")
_MOST_HEAD = 4096
_HEADER = ("mono_ns", "device", "domain", "interface", "quantity", "value")


class NoRawReadings(ChipwattError):
    """The agent's sensing process does not give raw readings here."""

    exit_code = 69  # EX_UNAVAILABLE


def add_parser(subparsers: Any) -> None:
    """Add ``raw`` to the command line."""
    parser = subparsers.add_parser(
        "raw",
        help="raw readings of the last minutes, on this host alone",
        description="Print the raw readings that the sensing process still has in memory, as CSV. "
        "The agent keeps none unless sensing.raw_socket is set; each use is logged.",
    )
    parser.add_argument("socket", type=Path, help="sensing.raw_socket of the agent")


def run(args: argparse.Namespace) -> int:
    """Print a line a reading, sensor by sensor."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_HEADER)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(args.socket))
            with connection.makefile("rb") as answer:
                for head, pairs in sensors(answer):
                    names = [head[name] for name in _HEADER[1:-1]]
                    rows = zip(pairs[::2], pairs[1::2], strict=True)
                    writer.writerows((mono_ns, *names, value) for mono_ns, value in rows)
    except BrokenPipeError:  # whoever reads our output has had enough
        raise
    except OSError as error:
        raise NoRawReadings(
            f"{args.socket}: no raw readings: {error.strerror or error}; set sensing.raw_socket "
            "for the agent, and ask as root or as its user"
        ) from None
    return 0


def sensors(answer: BinaryIO) -> Iterator[tuple[dict[str, Any], array[int]]]:
    """Yield each sensor with its readings; raises NoRawReadings where the answer is cut."""
    any_came = False
    while size := answer.read(_SIZE.size):
        any_came = True
        length = _SIZE.unpack(size)[0] if len(size) == _SIZE.size else _MOST_HEAD + 1
        if length > _MOST_HEAD:
            raise NoRawReadings("the answer is none of a sensing process")
        head = json.loads(answer.read(length))
        data = answer.read(16 * head["readings"])
        if len(data) < 16 * head["readings"]:
            raise NoRawReadings("the answer ended early: the sensing process has ended")
        pairs = array("q", data)
        if sys.byteorder == "big":
            pairs.byteswap()
        yield head, pairs
    if not any_came:
        raise NoRawReadings("refused: only root and the agent's own user may read raw values")
