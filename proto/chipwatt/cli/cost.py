"""What processes cost their host, read from ``/proc``: CPU time and proportional memory."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """One process at one moment."""

    pid: int
    at_mono_ns: int
    cpu_ns: int
    """User and system time since it started, in steps of the kernel's clock tick."""
    pss_kib: int
    """Proportional set size: shared pages are divided among those who share them."""


@dataclass(frozen=True, slots=True)
class Cost:
    """A process between two moments."""

    name: str
    pid: int
    cpu_ppm: int
    """CPU time over wall time; one core is 1,000,000."""
    pss_kib: int


def descendants(pid: int, proc: Path = Path("/proc")) -> list[int]:
    """Return ``pid`` and every process below it that lives, parents first."""
    found = [pid]
    for parent in found:
        for task in (proc / str(parent) / "task").glob("*/children"):
            try:
                found.extend(int(child) for child in task.read_text().split())
            except OSError:
                continue
    return found


def usage(pid: int, proc: Path = Path("/proc")) -> Usage | None:
    """Read one process; None where it is gone or not ours to look at."""
    try:
        stat = (proc / str(pid) / "stat").read_text()
        rollup = (proc / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before may hold blanks
    ticks = int(fields[11]) + int(fields[12])  # utime and stime, proc(5)
    pss_kib = next(
        (int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0
    )
    cpu_ns = ticks * 1_000_000_000 // _TICKS_A_SECOND
    return Usage(pid, time.monotonic_ns(), cpu_ns, pss_kib)


def born(pid: int, proc: Path = Path("/proc")) -> Usage | None:
    """Return a process as it began: no CPU time yet. None where it is gone."""
    try:
        stat = (proc / str(pid) / "stat").read_text()
    except OSError:
        return None
    ticks = int(stat.rpartition(")")[2].split()[19])  # starttime since boot, proc(5)
    age_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ticks * 1_000_000_000 // _TICKS_A_SECOND
    return Usage(pid, time.monotonic_ns() - age_ns, 0, 0)


def between(name: str, first: Usage, last: Usage) -> Cost:
    """Return the cost of one process from ``first`` to ``last``."""
    wall_ns = max(1, last.at_mono_ns - first.at_mono_ns)
    cpu_ppm = (last.cpu_ns - first.cpu_ns) * 1_000_000 // wall_ns
    return Cost(name, first.pid, cpu_ppm, last.pss_kib)


class CostMeter:
    """The cost of the agent's processes from ``begin``, once they do their daily work."""

    def __init__(self, agent_pid: int, proc: Path = Path("/proc")) -> None:
        self._agent_pid = agent_pid
        self._proc = proc
        self._first: dict[int, Usage] = {}
        self._start_cpu_ns = 0

    @property
    def start_cpu_ns(self) -> int:
        """CPU time spent before ``begin``: starting up and measuring the sensors."""
        return self._start_cpu_ns

    def begin(self) -> None:
        """Count from now on; what was before is the start's cost. Only the first call counts."""
        if not self._first:
            self._first = self._now()
            self._start_cpu_ns = sum(each.cpu_ns for each in self._first.values())

    def look(self) -> None:
        """Take note of processes that were started after ``begin``."""
        for pid in descendants(self._agent_pid, self._proc):
            found = born(pid, self._proc) if self._first and pid not in self._first else None
            if found is not None:
                self._first[pid] = found

    def costs(self) -> list[Cost]:
        """Return the cost of each process that lives, the agent process first.

        One that was started again counts from its own start; its predecessor is gone.
        """
        self.look()
        last = self._now()
        return [
            between("agent" if pid == self._agent_pid else "sensing", first, last[pid])
            for pid, first in self._first.items()
            if pid in last
        ]

    def _now(self) -> dict[int, Usage]:
        pids = descendants(self._agent_pid, self._proc)
        found = (usage(pid, self._proc) for pid in pids)
        return {each.pid: each for each in found if each}
