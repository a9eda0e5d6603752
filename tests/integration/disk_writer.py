"""A process that writes what it is told to, on a disk that fails: ``test_each_disk_call``.

Each line on standard input is a try to write the next batch (or record), and is answered
by a line: ``kept``, or why not. What was not kept is what the next line tries again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from chipwatt.agent.spool.contract import SpoolConfig
from chipwatt.agent.spool.spool import Spool
from chipwatt.collector.store.config import StoreConfig
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.errors import ChipwattError
from chipwatt.core.settings import Size
from unit.collector.store.batches import FakeHost

SPOOL = SpoolConfig(quota=Size(1 << 20), segment=Size(4096))
BOOT = bytes(range(16))
LARGE = 3000


def payload(number: int, size: int) -> bytes:
    """Return what record ``number`` holds: of the spool's segments, each takes one large one."""
    return number.to_bytes(4) * (size // 4)


def store(folder: Path) -> Callable[[int], None]:
    """Commit one batch of ten seconds of two devices at a time."""
    opened, host = SqliteStore(StoreConfig(path=folder)), FakeHost(1)
    made = [host.batch()]

    def write(number: int) -> None:
        while len(made) <= number:
            made.append(host.batch())
        opened.commit([made[number]])

    return write


def spool(folder: Path) -> Callable[[int], None]:
    """Append one small record at a time."""
    opened = Spool(folder, BOOT, SPOOL)
    return lambda number: opened.append([(payload(number, 40), b"")])


def segments(folder: Path) -> Callable[[int], None]:
    """Append one large record at a time: each begins a segment."""
    opened = Spool(folder, BOOT, SPOOL)
    return lambda number: opened.append([(payload(number, LARGE), b"")])


def main(what: str, folder: Path) -> None:
    write = {"store": store, "spool": spool, "segments": segments}[what](folder)
    print("ready", flush=True)
    number = 0
    for _ in sys.stdin:
        try:
            write(number)
        except ChipwattError as error:
            print(error, flush=True)
        else:
            number += 1
            print("kept", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
