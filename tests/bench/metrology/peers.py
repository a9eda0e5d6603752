"""Other tools on the same tree, side by side: what they make of a wrap and of a reset.

A peer runs in a mount namespace of its own in which the fake tree is ``/sys``, since most
have that path built in; so this needs root. Python packages are taken from the
interpreter in ``CHIPWATT_PEERS_PYTHON`` (else this one), programs from PATH. Peers that are
not there are left out and named.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bench.metrology.faults import FAULTS, NONE
from bench.metrology.loads import loads
from bench.metrology.rigs import Bench, powercap
from fakes.event_source import place_cpu
from fakes.scenario import energy_uj

SECONDS = 10
_TIMED = """
import json, time
def measure(begin, end):
    begin(); t0 = time.monotonic_ns()
    time.sleep({seconds})
    uj = end(); t1 = time.monotonic_ns()
    print(json.dumps({{"t0": t0, "t1": t1, "uj": uj}}))
"""
PACKAGES: Mapping[str, str] = {
    "pyRAPL": """
import pyRAPL
pyRAPL.setup(devices=[pyRAPL.Device.PKG])
m = pyRAPL.Measurement("x")
def end():
    m.end()
    return None if m.result.pkg is None else m.result.pkg[0]
measure(m.begin, end)
""",
    "zeus": """
from zeus.monitor import ZeusMonitor
monitor = ZeusMonitor(cpu_indices=[0], gpu_indices=[])
measure(lambda: monitor.begin_window("x"),
        lambda: monitor.end_window("x").cpu_energy[0] * 1e6)
""",
    "codecarbon": """
from codecarbon.core.cpu import IntelRAPL
from codecarbon.core.units import Time
rapl = IntelRAPL()
def end():
    found = rapl.get_cpu_details(Time(seconds={seconds}))
    return sum(v for k, v in found.items() if "Energy" in k) * 3.6e12
measure(rapl.start, end)
""",
}
PROGRAMS: Mapping[str, str] = {
    "prometheus-node-exporter": """
import re, subprocess, urllib.request
address = "127.0.0.1:19100"
server = subprocess.Popen([{path!r}, "--collector.disable-defaults", "--collector.rapl",
    "--web.listen-address=" + address], stderr=subprocess.DEVNULL)
time.sleep(1)
def joules():
    text = urllib.request.urlopen("http://" + address + "/metrics").read().decode()
    return float(re.search(r"^node_rapl_package_joules_total.* (\\S+)$", text, re.M)[1])
first = []
try:
    measure(lambda: first.append(joules()), lambda: (joules() - first[0]) * 1e6)
finally:
    server.kill()
""",
}
UNWIRED = ("kepler", "alumet-agent", "scaphandre", "zeusd")
"""Programs that are named where they are on PATH; nobody has shown them such a tree yet."""


def compare() -> list[list[str]]:
    """Run every peer that is here over no fault, a wrap and a reset; return the table's rows."""
    return [
        [name, fault or "-", *_run(program, fault)]
        for name, program in _present().items()
        for fault in ("", "wrap", "double wrap", "reset")
    ]


def missing() -> list[str]:
    """Return the peers that are not on this machine, or that are not wired."""
    present = _present()
    return [name for name in (*PACKAGES, *PROGRAMS, *UNWIRED) if name not in present]


def _python() -> str:
    return os.environ.get("CHIPWATT_PEERS_PYTHON", sys.executable)


def _present() -> dict[str, str]:
    head = _TIMED.format(seconds=SECONDS)
    found = {}
    for name, program in PACKAGES.items():
        looked = subprocess.run(
            [_python(), "-c", f"import importlib.util as u; assert u.find_spec({name!r})"],
            capture_output=True,
            check=False,
        )
        if looked.returncode == 0:
            found[name] = head + program.replace("{seconds}", str(SECONDS))
    for name, program in PROGRAMS.items():
        path = shutil.which(name)
        if path:
            found[name] = head + program.format(path=path)
    return found


def _run(program: str, fault: str) -> list[str]:
    load = loads()["training 0.8 Hz"]
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        bench = powercap(Path(folder), load, FAULTS.get(fault, NONE).settings)
        try:
            return _verdict(bench, Path(folder) / "sys", program)
        finally:
            bench.stop()


def _verdict(bench: Bench, sysfs: Path, program: str) -> list[str]:
    place_cpu(sysfs, 0, 0)
    (sysfs / "devices/system/cpu/present").write_text("0\n")
    command = f'mount --rbind {sysfs} /sys && exec {_python()} -W ignore -c "$PROGRAM"'
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command],
        env={**os.environ, "PROGRAM": program},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = [line for line in result.stdout.splitlines() if line.startswith("{")]
    if not lines:
        reason = result.stderr.strip().splitlines()[-1:] or ["said nothing"]
        return ["-", f"failed: {reason[0][:80]}"]
    seen = json.loads(lines[-1])
    load = loads()["training 0.8 Hz"]
    begin, end = seen["t0"] - bench.start_mono_ns, seen["t1"] - bench.start_mono_ns
    truth_j = energy_uj(load, begin, end) / 1e6
    if seen["uj"] is None:
        return ["none", "gives no value"]
    error_j = seen["uj"] / 1e6 - truth_j
    return [f"{error_j:+.1f}", f"{100 * error_j / truth_j:+.2f} %"]
