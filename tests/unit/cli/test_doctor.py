"""``chipwatt doctor``: what a person reads, what a program reads, what it ends with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chipwatt.cli import doctor, main
from chipwatt.core.errors import ConfigError


def found(**interface: Any) -> dict[str, Any]:
    each = {
        "name": "rapl_powercap", "state": "blocked", "there": ["2 zones"], "missing": ["a key"],
        "remedies": [
            {"why": "a group may", "file": "/etc/x.rules", "text": "A\nB\n", "commands": ["do it"]}
        ],
        "notes": ["noise"], "source_says": "root only", **interface,
    }  # fmt: skip
    host = {
        "cpu": "Xeon", "kernel": "6.8", "confidential_guest": "", "hypervisor": "KVM",
        "container": "docker", "uid": 7,
    }  # fmt: skip
    deadlines = {
        "name": "deadlines", "state": "blocked", "there": [], "missing": ["real-time priority"],
        "remedies": [], "notes": [],
    }  # fmt: skip
    units = {
        "name": "units", "state": "off", "there": [], "missing": [], "remedies": [],
        "notes": ["no unit of systemd runs Chipwatt here"],
    }  # fmt: skip
    workloads = {**units, "name": "workloads", "state": "works", "notes": []}
    return {
        "host": host, "deadlines": deadlines, "units": units, "workloads": workloads,
        "interfaces": [each], "cross_check": None,
    }  # fmt: skip


def text(report: dict[str, Any]) -> str:
    return "\n".join(doctor.lines(report))


def test_a_remedy_can_be_copied_line_by_line() -> None:
    report = text(found())
    assert "rapl_powercap: BLOCKED" in report
    assert "write to /etc/x.rules:\n            A\n            B\n        do it" in report
    assert "guest of KVM, in a container (docker), checked as uid 7" in report
    assert "To be had here: rapl_powercap." in report
    assert "deadlines: BLOCKED\n    missing: real-time priority" in report
    assert "units: OFF\n    note:    no unit of systemd" in report


def test_what_works_needs_nothing() -> None:
    report = text(found(state="works", missing=[], remedies=[], notes=[]))
    assert "to grant" not in report
    assert "root only" not in report
    assert "Nothing more is to be had here." in report


@pytest.mark.parametrize(
    ("agrees", "words"),
    [(True, "agrees with ours"), (False, "CONTRADICTS ours"), (None, "could not be compared")],
)
def test_the_cross_check_is_told(agrees: bool | None, words: str) -> None:
    report = found()
    counter = {
        "device": "cpu/0", "domain": "PACKAGE", "ours_uj": 5_000_000, "theirs_uj": 5_000_000,
        "agrees": agrees,
    }  # fmt: skip
    report["cross_check"] = {
        "with": "pyRAPL", "agrees": agrees, "problem": "why", "counters": [counter],
    }  # fmt: skip
    assert f"pyRAPL {words}" in text(report)
    assert "cpu/0 package: ours 5.00 J, theirs 5.00 J" in text(report)


def test_json_is_one_object_and_the_exit_code_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"host", "deadlines", "units", "workloads", "interfaces", "cross_check"} == set(report)
    names = [each["name"] for each in report["interfaces"]]
    assert names[:8] == [
        "nvml", "amdsmi", "rapl_powercap", "rapl_perf", "hwmon", "hsmp", "pyrapl", "estimate",
    ]  # fmt: skip
    for each in report["interfaces"]:
        assert each["state"] in ("works", "spare", "blocked", "absent", "off")
        assert each["there"] or each["missing"], "a person learns something of every interface"


def test_this_machine_for_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["doctor"]) == 0
    assert capsys.readouterr().out.startswith("chipwatt doctor: ")


def test_what_keeps_schedulers_out_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(f'state_dir = "{tmp_path}"\n[workloads]\ngroup = "no-such-group"\n')
    assert main.run(["doctor", "--config", str(config)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "workloads: BLOCKED missing: workloads.group: this host has no group" in said
    assert "note: the agent does not start with this" in said


def test_wrong_arguments_are_the_only_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text("[sources.nvmll]\n")
    assert main.run(["doctor", "--config", str(config)]) == ConfigError.exit_code
    assert "did you mean 'nvml'?" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main.run(["doctor", "--nonsense"])
    assert ended.value.code == 2
