"""Reading a spool whole, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chipwatt.agent.merging_process import standing
from chipwatt.agent.spool.contract import SpoolConfig, Spooled
from chipwatt.agent.spool.record import START
from chipwatt.agent.spool.spool import Spool
from chipwatt.core.coarsen import coarsen, gap_after, gap_between
from chipwatt.core.settings import Size

BOOT = bytes(range(16))
SMALL = SpoolConfig(quota=Size(16384), segment=Size(4096))


class InProcess:
    """What the merging process does, without the process."""

    cpu_ms = 0

    def coarser(self, payloads: Sequence[bytes], resolution_ns: int) -> list[tuple[int, bytes]]:
        return [(one.replaces, one.payload) for one in coarsen(payloads, resolution_ns)]

    def gap(self, before: Sequence[bytes], after: Sequence[bytes], stood: bytes = b"") -> bytes:
        if stood:
            return gap_after(*standing(stood), after)
        return gap_between(before, after)


def opened(directory: Path, config: SpoolConfig | None = None, boot: bytes = BOOT) -> Spool:
    return Spool(directory, boot, config, merging=InProcess())


def read_all(spool: Spool) -> list[Spooled]:
    found: list[Spooled] = []
    while more := spool.read_from(found[-1].position if found else START, 4096):
        found += more
    return found


def payloads(spool: Spool) -> list[bytes]:
    return [record.payload for record in read_all(spool)]


def filled(directory: Path, *texts: bytes) -> None:
    spool = opened(directory)
    for text in texts:
        spool.append([(text, b"memory of " + text)])
    spool.close()


def newest(directory: Path) -> Path:
    return max(directory.glob("*.seg"))
