"""The cross-check with the real pyRAPL, whose paths are fixed: in a mount namespace of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

_NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]
_INSIDE = """
import json, sys, threading, time
from pathlib import Path
from chipwatt.agent.doctor.report import examine

package = Path("/sys/class/powercap/intel-rapl/intel-rapl:0")
dram = package / "intel-rapl:0:0"
dram.mkdir(parents=True)
for folder, name in ((package, "package-0"), (dram, "dram")):
    (folder / "name").write_text(name + "\\n")
    (folder / "max_energy_range_uj").write_text("262143328850\\n")
    (folder / "energy_uj").write_text("1000".ljust(20))

def play():
    value = 1000
    while True:
        value += 50_000
        for folder in (package, dram):
            with open(folder / "energy_uj", "r+") as file:
                file.write(f"{value}".ljust(20))
        time.sleep(0.001)

threading.Thread(target=play, daemon=True).start()
print(json.dumps(examine()["cross_check"]))
"""


def test_pyrapl_agrees_on_moving_counters() -> None:
    pytest.importorskip("pyRAPL.device_api", reason="pyRAPL is not installed")
    script = f'mount -t tmpfs none /sys/class && exec {sys.executable} -c "$1"'
    command = [*_NAMESPACE, "sh", "-c", script, "sh", _INSIDE]
    if shutil.which("unshare") is None:
        pytest.skip("needs the program unshare")
    allowed = subprocess.run(
        [*_NAMESPACE, "mount", "-t", "tmpfs", "none", "/sys/class"],
        capture_output=True,
        check=False,
    )
    if allowed.returncode != 0:
        pytest.skip(f"no mount namespace is granted here: {allowed.stderr.decode().strip()}")
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    check = json.loads(result.stdout.splitlines()[-1])
    assert (check["with"], check["agrees"], check["problem"]) == ("pyRAPL", True, "")
    assert [(c["device"], c["domain"]) for c in check["counters"]] == [
        ("cpu/0", "PACKAGE"),
        ("cpu/0", "DRAM"),
    ]
    for counter in check["counters"]:
        assert counter["ours_uj"] > 0
        assert abs(counter["ours_uj"] - counter["theirs_uj"]) < counter["ours_uj"] / 10
