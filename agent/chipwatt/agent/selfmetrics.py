"""What the agent's processes cost their host, read from /proc."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of one process."""

    bytes: int
    kind: str
    """``pss``: shared pages divided among those who share them; ``rss`` counts them whole."""


def cpu_ms(pid: int, proc: Path = PROC) -> int | None:
    """Return user and system time of a process in ms, in steps of the kernel's tick.

    None where it is gone. Fields 14 and 15 of ``stat``, proc(5).
    """
    try:
        stat = (proc / str(pid) / "stat").read_text()
    except OSError:
        return None
    after_name = stat.rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) * 1000 // _TICKS_PER_S


def dead_children_cpu_ms() -> int:
    """Return user and system time in ms of this process's children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((usage.ru_utime + usage.ru_stime) * 1000)


def memory(pid: int, proc: Path = PROC) -> Memory | None:
    """Return PSS or, where the kernel does not show it, RSS; None where the process is gone."""
    for file, prefix, kind in (("smaps_rollup", "Pss:", "pss"), ("status", "VmRSS:", "rss")):
        try:
            lines = (proc / str(pid) / file).read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith(prefix):
                return Memory(int(line.split()[1]) * 1024, kind)
    return None
