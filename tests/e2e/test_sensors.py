"""`chipwatt sensors` says what there is and why the rest is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.programs import chipwatt, no_traceback
from fakes.build import build
from fakes.powercap import PowercapTree

pytestmark = pytest.mark.e2e


def test_this_machine_whatever_it_has() -> None:
    result = chipwatt("sensors", "--json")
    assert result.returncode == 0, result.stderr
    no_traceback(result.stderr)
    report = json.loads(result.stdout)
    names = {interface["name"] for interface in report["interfaces"]}
    assert {"rapl_powercap", "nvml", "estimate"} <= names
    for interface in report["interfaces"]:
        if interface["present"]:
            assert interface["sensors"]
        else:
            assert interface["reason"]
            assert len(interface["detail"]) > 10, "a sentence for a person"


def test_a_machine_with_rapl_for_people(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path)
    tree.cpuinfo()
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl:0:0", "core")
    config = tmp_path / "agent.toml"
    config.write_text(
        f'[sources.rapl_powercap]\nsysfs = "{tree.sysfs}"\nprocfs = "{tree.procfs}"\n'
        f'[sources.rapl_perf]\nsysfs = "{tree.sysfs}"\n'
    )
    result = chipwatt("sensors", "--config", config)
    tree.close()
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    package = next(line for line in lines if "package" in line)
    assert package.startswith("rapl_powercap")
    assert "counter" in package
    assert any("  core" in line for line in lines), "a nested domain is indented"
    assert "ESTIMATED" not in result.stdout, "no model where a sensor covers the CPU"
    assert any(line.startswith("nvml") for line in lines)


def test_a_wrong_key_is_refused_by_name(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text("[sensing]\nmax_rte = 10\n")
    result = chipwatt("sensors", "--config", config)
    assert result.returncode == 78
    assert "max_rte" in result.stderr
    assert "max_rate" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("init", "said"),
    [("__builtin_trap();", "signal"), ("exit(0);", "exit status 0"), ('puts("hi {");', "NVML")],
)
@pytest.mark.parametrize("command", ["sensors", "doctor"])
def test_a_library_that_misbehaves_spoils_nothing_else(command: str, init: str, said: str) -> None:
    body = f"{init} fflush(stdout); return 9;"
    text = (
        f"#include <stdio.h>\n#include <stdlib.h>\nint nvmlInitWithFlags(unsigned f) {{ {body} }}"
    )
    folder = build("nvml-misbehaves", [], "libnvidia-ml.so.1", text=text)
    result = subprocess.run(
        [sys.executable, "-m", "chipwatt.cli", command, "--json"],
        env={**os.environ, "LD_LIBRARY_PATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    nvml = next(each for each in report["interfaces"] if each["name"] == "nvml")
    assert said in nvml.get("detail", nvml.get("source_says"))
