from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chipwatt.agent.doctor.report import examine
from chipwatt.agent.sensing import registry
from chipwatt.agent.sensing_config import SensingConfig
from chipwatt.core.errors import ConfigError
from fakes.file_sensors import FileSource, registered
from fakes.machine import EPYC, FakeMachine
from fakes.powercap import PowercapTree

KERNEL_FILES = ("rapl_powercap", "rapl_perf", "hwmon", "estimate", "pyrapl", "hsmp", "replay")


def sources(root: Path) -> dict[str, dict[str, Any]]:
    """Return settings that keep every source of kernel files below ``root``."""
    sysfs, procfs = str(root / "sys"), str(root / "proc")
    return {
        "rapl_powercap": {"sysfs": sysfs, "procfs": procfs},
        "rapl_perf": {"sysfs": sysfs},
        "hwmon": {"sysfs": sysfs},
        "estimate": {"procfs": procfs},
        "hsmp": {"device": str(root / "dev/hsmp")},
    }


def examined(root: Path, bindings: tuple[str, ...] = ()) -> dict[str, Any]:
    ours = {name: entry for name, entry in registry.load().items() if name in KERNEL_FILES}
    found = examine(
        None,
        sources(root),
        root=root,
        registered=ours,
        is_installed=lambda name: name in bindings,
    )
    assert json.loads(json.dumps(found)) == found, "ready for JSON"
    return found


def state(found: dict[str, Any], name: str) -> str:
    (each,) = [each for each in found["interfaces"] if each["name"] == name]
    return str(each["state"])


def test_a_finding_never_contradicts_what_the_agent_would_do(
    powercap: PowercapTree, tmp_path: Path
) -> None:
    FakeMachine(tmp_path)
    powercap.zone("intel-rapl:0", "package-0")
    (tmp_path / "proc/stat").write_text("cpu  1 0 0 9 0 0 0 0\ncpu0 1 0 0 9 0 0 0 0\n")
    found = examined(tmp_path)
    assert state(found, "rapl_powercap") == "works"
    assert state(found, "estimate") == "spare"
    assert state(found, "rapl_perf") == "blocked"
    assert state(found, "pyrapl") == "off"
    assert found["cross_check"] is None


def test_the_host_is_described_for_whoever_reads_the_json(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, EPYC, "fpu hypervisor")
    machine.gpu("0000:01:00.0", 0x10DE, "nvidia")
    machine.user(7, capabilities=1 << 38)
    host = examined(tmp_path)["host"]
    assert (host["cpu"], host["kernel"], host["hypervisor"]) == (
        "AMD EPYC 9654",
        "6.8",
        "a hypervisor",
    )
    assert (host["uid"], host["capabilities"]) == (7, ["CAP_PERFMON"])
    assert host["gpus"] == [{"address": "0000:01:00.0", "vendor": "10de", "driver": "nvidia"}]


def test_a_place_that_the_settings_name_is_where_the_doctor_looks(tmp_path: Path) -> None:
    FakeMachine(tmp_path / "container")
    FakeMachine(tmp_path / "host").zone("intel-rapl:0", "package-0")
    ours = {"rapl_powercap": registry.load()["rapl_powercap"]}
    tables = {"rapl_powercap": {"sysfs": str(tmp_path / "host/sys")}}
    found = examine(None, tables, root=tmp_path / "container", registered=ours)
    (finding,) = [each for each in found["interfaces"] if each["name"] == "rapl_powercap"]
    assert "package-0" in finding["there"][-1]


def test_a_site_s_own_source_and_a_source_switched_off(tmp_path: Path) -> None:
    (tmp_path / "0.uj").write_text("5")
    FakeMachine(tmp_path)
    found = examine(
        None,
        {"meter": {"root": str(tmp_path)}},
        root=tmp_path,
        registered=registered(FileSource, "meter"),
    )
    assert state(found, "meter") == "works"
    ours = {"hsmp": registry.load()["hsmp"], **registered(FileSource, "meter")}
    found = examine(SensingConfig(sources=("hsmp",)), {}, root=tmp_path, registered=ours)
    assert state(found, "meter") == "off"


def test_settings_that_cannot_be_are_an_error_of_the_person(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"agent.toml: \[sources.hsmpp\].*did you mean 'hsmp'"):
        examine(None, {"hsmpp": {}}, where="agent.toml", root=tmp_path)
