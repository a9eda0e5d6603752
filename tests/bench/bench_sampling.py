"""How well the sensing process keeps its deadlines, and what it costs.

``python tests/bench/bench_sampling.py [--seconds N]`` runs the real process on
a powercap tree in memory (``/dev/shm``) whose counters a player moves on, and
prints for each setting: deadlines met within 0.5 ms, CPU of a core, PSS.
Windows go to a reader that decodes nothing.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chipwatt.agent import sensing_link as link
from chipwatt.agent.sensing_config import SensingConfig
from chipwatt.core import codec
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.records import AgentHealth
from chipwatt.core.settings import Duration

ROOT = Path(__file__).resolve().parents[2]
_PLAYER = """
import sys, time
files = [open(path, "r+") for path in sys.argv[1:]]
began = time.monotonic_ns()
while True:
    now = time.monotonic_ns() - began
    for n, file in enumerate(files):
        file.seek(0); file.write(f"{1_000_000 + (60 + n) * now // 1000:014d}\\n"); file.flush()
    time.sleep(0.001)
"""


def powercap_tree(root: Path, zones: int) -> list[Path]:
    """Make packages with a dram zone each; return the counter files."""
    files = []
    for zone in range(zones):
        package, part = divmod(zone, 2)
        folder = root / "class" / "powercap" / f"intel-rapl:{package}"
        if part:
            folder /= f"intel-rapl:{package}:0"
        folder.mkdir(parents=True)
        (folder / "name").write_text("dram\n" if part else f"package-{package}\n")
        (folder / "max_energy_range_uj").write_text("262143328850\n")
        (folder / "energy_uj").write_text("00000001000000\n")
        files.append(folder / "energy_uj")
    return files


def pss_kib(pid: int) -> int:
    """Return the proportional set size of a process."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("Pss:")).split()[1])


def cpu_s(pid: int) -> float:
    """Return user and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(root: Path, zones: int, max_rate: int, seconds: float, *, player: bool) -> str:
    """Run once and return a line of results."""
    counters = powercap_tree(root, zones)
    config = SensingConfig(
        sources=("rapl_powercap",),
        max_rate=max_rate,
        cpu_budget=1.0,
        batch=Duration(10 * NS_PER_S),
    )
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "chipwatt.agent.sensing_process", "--fd", str(theirs.fileno())]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    theirs.close()
    playing = (
        subprocess.Popen([sys.executable, "-c", _PLAYER, *map(str, counters)]) if player else None
    )
    try:
        tables = {"rapl_powercap": {"sysfs": str(root)}}
        ours.sendall(link.encode(link.Start(config.to_plain(), tables)))
        time.sleep(3)  # start and first measurement
        before_s, began = cpu_s(process.pid), time.monotonic()
        time.sleep(seconds)
        share = (cpu_s(process.pid) - before_s) / (time.monotonic() - began)
        memory_kib = pss_kib(process.pid)
        ours.sendall(link.encode(link.Stop()))
        health = last_health(ours)
    finally:
        if playing is not None:
            playing.kill()
            playing.wait()
        process.wait(20)
    met = 1 - health.late_deadlines / max(1, health.deadlines)
    return (
        f"{zones} zones {max_rate:5d} Hz  {health.deadlines:7d} deadlines  "
        f"within 0.5 ms {met:8.3%}  CPU {share:6.2%} of a core  PSS {memory_kib / 1024:5.1f} MiB"
    )


def last_health(sock: socket.socket) -> AgentHealth:
    """Read to the end and return the sum of the reports after the first measurement."""
    reader = link.FrameReader()
    found: list[AgentHealth] = []
    while data := sock.recv(1 << 16):
        for message in reader.feed(data):
            if isinstance(message, link.Payload):
                tables = codec.decode_tables(message.payload)
                found += codec.records_from_tables(tables).agent
    return max(found[1:] or found, key=lambda health: health.deadlines)


def main() -> None:
    """Print one line a setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    for zones, max_rate in ((4, 100), (6, 1000)):
        for player in (True, False):
            with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
                line = measure(Path(folder), zones, max_rate, options.seconds, player=player)
            print(line, "" if player else " (counters stand still)")


if __name__ == "__main__":
    main()
