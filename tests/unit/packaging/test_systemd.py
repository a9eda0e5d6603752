"""The shipped units: how exposed systemd finds them, and that they fit what the programs take."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from chipwatt.agent.doctor import cpu_advice, other_advice
from chipwatt.agent.doctor.finding import GROUP, UNIT
from chipwatt.cli import main, workload

PACKAGING = Path(__file__).parents[3] / "packaging"
SHIPPED = PACKAGING / "systemd"
UNITS = (
    "chipwatt-sensing",
    "chipwatt-agent",
    "chipwatt-collector",
    "chipwatt-slurm",
    "chipwatt-renew",
)
MOST_EXPOSURE = 20
"""Of 100; the usual exporters have 92 and more."""
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here"
)


def exposure(unit: Path) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSURE}"]
    return subprocess.run(
        [*command, str(unit)], capture_output=True, text=True, timeout=60, check=False
    )


def path_of(unit: str) -> Path:
    (path,) = PACKAGING.glob(f"*/{unit}.service")
    return path


def text(name: str) -> str:
    return (SHIPPED / name).read_text()


def values(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", path_of(unit).read_text(), re.MULTILINE)


def tmpfiles() -> list[str]:
    return [line for line in text("chipwatt.tmpfiles").splitlines() if not line.startswith("#")]


@needs_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_little_exposed(unit: str) -> None:
    result = exposure(path_of(unit))
    if "Unknown" in result.stderr or "unrecognized option" in result.stderr:
        pytest.skip(f"this systemd is too old: {result.stderr.strip()}")
    assert result.returncode == 0, result.stdout + result.stderr
    found = re.search(r"exposure level for .*: (\d+\.\d)", result.stdout)
    assert found is not None, result.stdout
    assert float(found[1]) * 10 <= MOST_EXPOSURE


@needs_systemd
def test_the_gate_can_fail(tmp_path: Path) -> None:
    bare = tmp_path / "chipwatt-bare.service"
    bare.write_text("[Service]\nExecStart=/usr/bin/chipwatt agent\n")
    result = exposure(bare)
    assert result.returncode != 0, result.stdout


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_says_what_the_command_takes(unit: str) -> None:
    (line,) = values(unit, "ExecStart")
    program, command, *words = line.split()
    assert program == "/usr/bin/chipwatt"
    options = main.parser_for([main._BY_NAME[command]]).parse_args([command, *words])
    assert isinstance(options, argparse.Namespace)


def test_both_sides_name_one_socket_in_a_folder_that_the_agent_has() -> None:
    (agent,), (sensing,) = values(UNITS[1], "ExecStart"), values(UNITS[0], "ExecStart")
    path = agent.partition("--sensing-socket ")[2].split()[0]
    assert path == sensing.partition("--socket ")[2].split()[0]
    (folder,) = values(UNITS[1], "RuntimeDirectory")
    assert Path(path).parent == Path("/run") / folder
    (group,) = values(UNITS[1], "Group")
    assert group in values(UNITS[0], "SupplementaryGroups")[0].split()


def test_every_user_and_group_of_ours_is_made() -> None:
    made = set(re.findall(r"^[ug] (\S+)", text("chipwatt.sysusers"), re.MULTILINE))
    named = {GROUP}
    for unit in UNITS:
        for key in ("User", "Group", "SupplementaryGroups"):
            named |= {name for line in values(unit, key) for name in line.split()}
    named |= {line.split()[4] for line in tmpfiles()}
    assert {name for name in named if name.startswith("chipwatt")} == made
    files = text("chipwatt.tmpfiles") + text("70-chipwatt.rules")
    assert set(re.findall(r"chipwatt-[a-z]+(?= +-)", files)) <= made


def test_a_group_may_bind_workloads_where_the_command_looks_and_the_unit_may_write() -> None:
    folder = workload._OF_UNIT[0].parent
    (made,) = [line.split() for line in tmpfiles() if line.split()[1] == str(folder)]
    (user,) = values("chipwatt-agent", "User")
    # The 2 hands the group down to the socket; only the agent may put something there.
    assert made[2:4] == ["2750", user]
    assert f"-{folder}" in values("chipwatt-agent", "ReadWritePaths")
    (state,) = values("chipwatt-agent", "StateDirectory")
    assert workload._OF_UNIT[1].parent == Path("/var/lib") / state
    said = tomllib.loads(re.findall(r"```toml\n(.*?)```", text("README.md"), re.DOTALL)[0])
    assert said == {"workloads": {"socket": str(workload._OF_UNIT[0]), "group": made[4]}}, (
        "the README says another"
    )


def test_the_rule_is_the_one_that_the_doctor_gives() -> None:
    lines = text("70-chipwatt.rules").splitlines()
    assert cpu_advice._POWERCAP_RULE.strip() in lines
    assert other_advice._HWMON_RULE.strip() in lines
    assert UNIT in UNITS


PLAIN = {"Type", "ExecStart", "Restart", "RestartSec", "Group", "StateDirectoryMode",
         "RuntimeDirectoryMode"}  # fmt: skip
"""Say what they are, or belong to the line above."""


def explained(unit: str) -> tuple[set[str], set[str]]:
    """Return the keys of a unit's service, and those with a comment right above them."""
    service = path_of(unit).read_text().partition("[Service]")[2].partition("[Install]")[0]
    keys, commented = set(), set()
    above = ""
    for line in service.splitlines():
        key = line.partition("=")[0]
        if line and not line.startswith("#"):
            keys.add(key)
            if above.startswith("#"):
                commented.add(key)
        above = line
    return keys, commented


@pytest.mark.parametrize("unit", UNITS)
def test_every_directive_is_explained(unit: str) -> None:
    _, there = explained("chipwatt-sensing")
    keys, here = explained(unit)
    assert keys - here - there <= PLAIN
