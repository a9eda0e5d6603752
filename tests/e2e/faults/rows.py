"""What a row of the matrix is, and what it needs of the machine."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from fakes import machine_faults


@dataclass
class Counts:
    """What the audit of one test counted; tests of one row are added up."""

    runs: int = 1
    written: int = 0
    """Records that ever were in a spool."""
    acked: int = 0
    stored: int = 0
    duplicates: int = 0
    """Records that came again and were absorbed."""
    gaps: int = 0
    note: str = ""

    def add(self, other: Counts) -> None:
        for name in ("written", "acked", "stored", "duplicates", "gaps"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass
class Case:
    """One run of one test."""

    folder: Path
    chance: random.Random
    full: bool
    say: Callable[[str], None] = field(default=lambda _: None)

    def pick(self, quick: int, full: int) -> int:
        """Return how much of something is asked for."""
        return full if self.full else quick


class Skip(Exception):
    """This machine cannot show the fault; the text says why."""


@dataclass(frozen=True)
class Row:
    number: int
    fault: str
    test: Callable[[Case], Counts]
    needs: tuple[str, ...]
    only_full: bool

    @property
    def name(self) -> str:
        return self.test.__name__

    def missing(self) -> str:
        """Return why it cannot run here; empty where it can."""
        return next((why for need in self.needs if (why := NEEDS[need]())), "")


ROWS: list[Row] = []


def row(
    number: int, fault: str, *needs: str, only_full: bool = False
) -> Callable[[Callable[[Case], Counts]], Callable[[Case], Counts]]:
    """Put a test into the matrix."""

    def add(test: Callable[[Case], Counts]) -> Callable[[Case], Counts]:
        ROWS.append(Row(number, fault, test, needs, only_full))
        return test

    return add


def _works(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    try:
        done = subprocess.run(command, capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _root() -> str:
    return "" if os.geteuid() == 0 else "needs root"


@cache
def _tmpfs() -> str:
    test = "mount -t tmpfs none /mnt"
    works = not _root() and _works("unshare", "--mount", "sh", "-c", test)
    return "" if works else "needs root and the right to mount a tmpfs"


@cache
def _strace() -> str:
    traced = ("strace", "-f", "-qq", "-e", "trace=fsync", "-o", "/dev/null")
    return "" if _works(*traced, "true") else "needs strace, and leave to trace"


@cache
def _netns() -> str:
    works = not _root() and _works("unshare", "--net", "ip", "link", "set", "lo", "up")
    return "" if works else "needs root, ip and network namespaces"


@cache
def _netem() -> str:
    test = "tc qdisc add dev lo root netem delay 1ms"
    works = not _netns() and _works("unshare", "--net", "sh", "-c", test)
    return "" if works else "needs root and the kernel's sch_netem"


def faketime_library() -> Path | None:
    """Return libfaketime, from the system's package or the one of PyPI."""
    found = [*Path("/usr/lib").glob("*/faketime/libfaketime.so.1")]
    spec = importlib.util.find_spec("libfaketime")
    if spec is not None and spec.origin is not None:
        found += Path(spec.origin).parent.glob("vendor/libfaketime/src/libfaketime.so.1")
    return found[0] if found else None


def _faketime() -> str:
    return "" if faketime_library() else "needs libfaketime: pip install libfaketime"


NEEDS: dict[str, Callable[[], str]] = {
    "compiler": cache(machine_faults.missing),
    "root": _root,
    "tmpfs": _tmpfs,
    "strace": _strace,
    "netns": _netns,
    "netem": _netem,
    "faketime": _faketime,
}
