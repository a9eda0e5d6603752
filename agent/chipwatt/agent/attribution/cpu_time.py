"""CPU time of cgroups, and of the whole machine, as the kernel counts it: v2, or v1 where it is.

======  ==================================  ============================
        a workload                          the machine
======  ==================================  ============================
v2      ``<cgroup>/cpu.stat`` usage_usec    ``cpu.stat`` of the root
v1      ``cpuacct/<cgroup>/cpuacct.usage``  the same file of the root
======  ==================================  ============================

The machine's is read last, so that it is never less than the sum of its parts. Files
stay open: each is read with one call. Readings are kept with their time and read off
in between them, so that any second's CPU time adds up to the whole.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
KEEP_NS: Final = 120_000_000_000
"""Readings are kept for blocks that are that late."""
_READ_BYTES: Final = 1024


def file_of(cgroup: str, root: Path = CGROUPS) -> Path:
    """Return the file that counts a cgroup's CPU time; it is there while the cgroup is."""
    if (root / "cgroup.controllers").exists():
        return root / cgroup / "cpu.stat"
    return root / "cpuacct" / cgroup / "cpuacct.usage"


@dataclass(slots=True)
class Line:
    """Cumulative CPU time over time."""

    times_ns: list[int] = field(default_factory=list)
    used_ns: list[int] = field(default_factory=list)

    def add(self, mono_ns: int, used_ns: int) -> None:
        """Take a reading; one that runs backwards stands still instead."""
        if self.times_ns and mono_ns <= self.times_ns[-1]:
            return
        last = bisect_right(self.times_ns, mono_ns - KEEP_NS) - 1
        if last > 0:
            del self.times_ns[:last], self.used_ns[:last]
        self.times_ns.append(mono_ns)
        self.used_ns.append(max(used_ns, self.used_ns[-1] if self.used_ns else 0))

    def at(self, mono_ns: int) -> int:
        """Return the CPU time up to a moment; before the first and after the last it stands."""
        after = bisect_right(self.times_ns, mono_ns)
        if not after or after == len(self.times_ns):
            return self.used_ns[max(0, after - 1)] if self.used_ns else 0
        from_ns, to_ns = self.times_ns[after - 1], self.times_ns[after]
        from_used, to_used = self.used_ns[after - 1], self.used_ns[after]
        return from_used + (to_used - from_used) * (mono_ns - from_ns) // (to_ns - from_ns)

    def between(self, start_ns: int, end_ns: int) -> int:
        """Return the CPU time of an interval; those of adjacent intervals add up."""
        return self.at(end_ns) - self.at(start_ns)


class CpuTimes:
    """Reads the cgroups that it is told to; one that is gone stands still."""

    def __init__(self, root: Path = CGROUPS) -> None:
        self._root = root
        self._is_v2 = (root / "cgroup.controllers").exists()
        self._files: dict[str, int] = {}
        self._lines: dict[str, Line] = {}
        self.read_ns = -1
        """When all were read last."""

    def watch(self, cgroups: Sequence[str]) -> None:
        """Read these from now on and the machine's beside them; nothing where there are none."""
        wanted = {*cgroups, ""} if cgroups else set()
        for gone in self._lines.keys() - wanted:
            self._close(gone)
            del self._lines[gone]
        for cgroup in wanted - self._lines.keys():
            self._lines[cgroup] = Line()

    def read(self, mono_ns: int) -> None:
        """Take one reading of each, stamped ``mono_ns``."""
        self.read_ns = mono_ns
        for cgroup in sorted(self._lines, reverse=True):  # the machine's has the least name
            used_ns = self._used_ns(cgroup)
            if used_ns is not None:
                self._lines[cgroup].add(mono_ns, used_ns)

    def of(self, cgroup: str) -> Line:
        """Return what was read of a cgroup; of the machine where it is empty."""
        return self._lines.get(cgroup) or Line()

    def close(self) -> None:
        """Give every file back."""
        for cgroup in list(self._files):
            self._close(cgroup)

    def _used_ns(self, cgroup: str) -> int | None:
        try:
            if cgroup not in self._files:
                flags = os.O_RDONLY | os.O_CLOEXEC
                self._files[cgroup] = os.open(file_of(cgroup, self._root), flags)
            text = os.pread(self._files[cgroup], _READ_BYTES, 0)
            if not self._is_v2:
                return int(text)
            name, used_us = text.split(None, 2)[:2]
            return 1000 * int(used_us) if name == b"usage_usec" else None
        except (OSError, ValueError) as error:  # it is gone, or not there yet
            self._close(cgroup)
            has_run = any(self._lines[cgroup].used_ns[-1:])
            return 0 if isinstance(error, FileNotFoundError) and not has_run else None

    def _close(self, cgroup: str) -> None:
        file = self._files.pop(cgroup, None)
        if file is not None:
            with suppress(OSError):
                os.close(file)
