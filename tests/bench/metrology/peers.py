"""Chipwatt and other tools on one tree, side by side: what each makes of a wrap and of a reset.

Most tools have ``/sys`` built in, so each runs in a mount namespace of its own in which the
fake tree is ``/sys``; that needs root. Packages are looked for in a given interpreter,
programs on PATH; those that are not there are named.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.metrology.judge import judge
from bench.metrology.loads import loads
from bench.metrology.peer_readers import Metered
from bench.metrology.rigs import RIGS, UNIT_NJ, Bench, powercap
from bench.metrology.sensing import sense, settings
from fakes.event_source import place_cpu
from fakes.powercap import REGISTER
from fakes.scenario import NS_PER_S, Point, energy_uj

LOAD: Final = "training 0.8 Hz"
BEGIN_NS: Final = 12 * NS_PER_S
"""Time for every tool to start, all at once."""
AT_NS: Final = 17 * NS_PER_S
END_NS: Final = 22 * NS_PER_S
TIMEOUT_S: Final = 60
TESTS: Final = Path(__file__).resolve().parents[2]
HEADER: Final = ["tool", "fault", "energy error J", "± J", "of the truth", "remark"]
PACKAGES: Final = ("pyRAPL", "zeus", "codecarbon")
PROGRAMS: Final[Mapping[str, Sequence[str]]] = {
    "node_exporter": ("node_exporter", "prometheus-node-exporter"),
    "scaphandre": ("scaphandre",),
    "zeusd": ("zeusd",),
    "kepler": ("kepler",),
    "alumet": ("alumet-agent",),
}
UNTRIED: Final = ("kepler", "alumet")
"""Programs whose reader nobody has shown the program itself, only its documented output."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A tool that is here: the interpreter that runs its reader, and its program if it is one."""

    name: str
    python: str
    program: str = ""


async def compare(python: str) -> list[list[str]]:
    """Return the table's rows: every tool that is here over every fault, then those that are not.

    ``python`` is the interpreter in which packages are looked for.
    """
    if os.geteuid() != 0:
        return [["all", "-", "-", "-", "-", "needs root, for a mount namespace"]]
    here = find(python)
    load = loads()[LOAD]
    rows = []
    for fault, fake in faults(load).items():
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            bench = powercap(Path(folder), load, fake)
            try:
                rows += await _side_by_side(bench, Path(folder) / "sys", here, fault)
            finally:
                bench.stop()
    rows.sort(key=lambda row: row[0] != "chipwatt")
    names = [peer.name for peer in here]
    return rows + [
        [name, "-", "-", "-", "-", _absence(name)]
        for name in (*PACKAGES, *PROGRAMS)
        if name not in names
    ]


def faults(load: Sequence[Point]) -> dict[str, dict[str, int]]:
    """Return settings of the fake by name of the fault: each strikes while the tools measure."""
    steps = energy_uj(load, 0, AT_NS) * 1000 // UNIT_NJ
    return {
        "-": {},
        "wrap": {"start_steps": REGISTER - steps},
        # 2^32 steps of 0.35 uJ are 1.5 kJ, and the load draws 5 kJ in the stretch.
        "three wraps": {"unit_nj": 350},
        "reset": {"reset_at_ns": AT_NS},
    }


def find(python: str) -> list[Peer]:
    """Return the tools that are on this machine."""
    found = []
    for name in PACKAGES:
        looks = f"import importlib.util as u, sys; sys.exit(u.find_spec({name!r}) is None)"
        looked = subprocess.run([python, "-c", looks], capture_output=True, check=False)
        if looked.returncode == 0:
            found.append(Peer(name, python))
    for name, commands in PROGRAMS.items():
        path = next(filter(None, map(shutil.which, commands)), None)
        if path:
            found.append(Peer(name, sys.executable, path))
    return found


def verdict(seen: Metered, load: Sequence[Point], start_mono_ns: int) -> list[str]:
    """Return the cells: error, how far the moments of reading leave it open, and its share."""
    if seen.uj is None:
        return ["-", "-", "-", "gives no value"]
    begin, end = (
        [moment - start_mono_ns for moment in moments] for moments in (seen.begin_ns, seen.end_ns)
    )
    least_j = energy_uj(load, begin[1], end[0]) / 1e6
    most_j = energy_uj(load, begin[0], end[1]) / 1e6
    truth_j = (least_j + most_j) / 2
    error_j = seen.uj / 1e6 - truth_j
    share = f"{100 * error_j / truth_j:+.2f} %"
    return [f"{error_j:+.1f}", f"{(most_j - least_j) / 2:.1f}", share, ""]


async def _side_by_side(
    bench: Bench, sysfs: Path, here: Sequence[Peer], fault: str
) -> list[list[str]]:
    _complete(sysfs)
    rows = await asyncio.gather(
        _ours(bench, fault), *(_theirs(bench, sysfs, peer, fault) for peer in here)
    )
    return list(rows)


async def _ours(bench: Bench, fault: str) -> list[str]:
    load = loads()[LOAD]
    rig = RIGS["rapl_powercap"]
    collected = await sense(bench, rig.source, END_NS, settings(1000))
    seen = judge(rig, load, bench.start_mono_ns, collected, bench.domain)
    hold = "hold" if seen.gaps_hold else "do not hold"
    return [
        "chipwatt",
        fault,
        f"{seen.total_error_uj / 1e6:+.1f}",
        "0.0",
        f"{seen.energy_error_ppm / 1e4:+.2f} %",
        f"{seen.gaps} gap, its bounds {hold}" if seen.gaps else "",
    ]


async def _theirs(bench: Bench, sysfs: Path, peer: Peer, fault: str) -> list[str]:
    moments = [str(bench.start_mono_ns + moment) for moment in (BEGIN_NS, END_NS)]
    reader = [peer.python, "-W", "ignore", "-m", "bench.metrology.peer_readers"]
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--mount", "sh", "-c", f'mount --rbind {sysfs} /sys && exec "$@"', "sh"),
        *(*reader, peer.name, peer.program, *moments),
        env={**os.environ, "PYTHONPATH": str(TESTS), "TMPDIR": str(sysfs.parent)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        said, complained = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    except TimeoutError:
        process.kill()
        return [peer.name, fault, "-", "-", "-", f"did not end within {TIMEOUT_S} s"]
    lines = [line for line in said.decode().splitlines() if line.startswith('{"version"')]
    if not lines:
        reason = complained.decode().strip().splitlines()[-1:] or ["said nothing"]
        return [peer.name, fault, "-", "-", "-", f"failed: {reason[0][:80]}"]
    seen = Metered(**json.loads(lines[-1]))
    return [
        f"{peer.name} {seen.version}",
        fault,
        *verdict(seen, loads()[LOAD], bench.start_mono_ns),
    ]


def _complete(sysfs: Path) -> None:
    """Add what tools look for beside the zones: CPU 0's package, and sysfs's link to the class."""
    place_cpu(sysfs, 0, 0)
    (sysfs / "devices/system/cpu/present").write_text("0\n")
    link = sysfs / "devices/virtual/powercap/intel-rapl/subsystem"
    link.symlink_to("../../../../class/powercap")


def _absence(name: str) -> str:
    where = "not installed" if name in PACKAGES else "not on PATH"
    untried = "; its reader is tested on documented output only" if name in UNTRIED else ""
    return where + untried
