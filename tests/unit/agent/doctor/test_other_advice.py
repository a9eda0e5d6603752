from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.agent.doctor.advice import RULES, advise
from chipwatt.agent.doctor.finding import Outcome, State
from chipwatt.agent.doctor.machine import INTEL
from fakes.machine import GRACE, XEON, FakeMachine
from unit.agent.doctor.diagnosis import FAILED, WORKS, diagnose, facts_of, told

ALTRA = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n"
POWER9 = "cpu\t: POWER9\nplatform\t: PowerNV\n"


def test_grace_needs_a_module_and_an_option(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, GRACE)
    finding = diagnose("hwmon", tmp_path)
    assert finding.state is State.BLOCKED
    assert "sudo modprobe acpi_power_meter" in told(finding)
    assert "options acpi_power_meter force_cap_on=y\n" in told(finding)
    assert "acpi_power_meter.force_cap_on=y" in finding.remedies[-1].commands[0]
    machine.modules("acpi_power_meter")
    machine.write("sys/module/acpi_power_meter/parameters/force_cap_on", "N\n")
    assert "modules-load.d" not in told(diagnose("hwmon", tmp_path))
    machine.write("sys/module/acpi_power_meter/parameters/force_cap_on", "Y\n")
    assert diagnose("hwmon", tmp_path).remedies == []


def test_grace_that_shows_power_lacks_nothing(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, GRACE)
    machine.write("sys/bus/acpi/devices/ACPI000D:00/status", "15\n")
    machine.hwmon(0, "power_meter", "power1_average")
    finding = diagnose("hwmon", tmp_path, WORKS)
    assert (finding.missing, finding.remedies) == ([], [])
    assert finding.there == ["2 sensors in use", "hwmon0 power_meter: power1_average"]


def test_files_for_root_alone(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, ALTRA)
    machine.hwmon(2, "apm_xgene", "power1_input", "power2_input", mode=0o400)
    machine.hwmon(3, "nvme", "power1_input", mode=0o400)
    finding = diagnose("hwmon", tmp_path)
    assert finding.state is State.BLOCKED
    (rule,) = finding.remedies
    assert rule.file == "/etc/udev/rules.d/70-chipwatt-hwmon.rules"
    assert "sudo udevadm trigger --subsystem-match=hwmon" in rule.commands
    assert "nvme" not in told(finding)
    assert "power2_input (0400" in finding.missing[0]


@pytest.mark.parametrize(("cpu", "module"), [(POWER9, "ibmpowernv"), (ALTRA, "smpro_hwmon")])
def test_drivers_of_other_processors(tmp_path: Path, cpu: str, module: str) -> None:
    machine = FakeMachine(tmp_path, cpu)
    assert f"sudo modprobe {module}" in told(diagnose("hwmon", tmp_path))
    machine.modules(module)
    assert diagnose("hwmon", tmp_path).remedies == []


def test_intel_gpus(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, XEON)
    machine.gpu("0000:00:02.0", INTEL, "i915")
    assert "domain uncore" in told(diagnose("hwmon", tmp_path))
    machine.kernel("6.1.0")
    assert "Linux 6.2" in told(diagnose("hwmon", tmp_path))


def test_the_model_says_that_it_is_one(tmp_path: Path) -> None:
    FakeMachine(tmp_path)
    assert "ESTIMATED" in told(diagnose("estimate", tmp_path, WORKS))
    spare = Outcome(works=False, reason="NOT_NEEDED", detail="")
    assert diagnose("estimate", tmp_path, spare).state is State.SPARE
    assert "what the source said" in told(diagnose("estimate", tmp_path))


def test_every_interface_gets_its_word_and_a_site_s_own_as_well(tmp_path: Path) -> None:
    FakeMachine(tmp_path)
    facts = facts_of(tmp_path)
    names = [finding.name for finding in advise(facts, {"replay": FAILED})]
    assert names == [*RULES, "third-party"]
    findings = advise(facts, {"pdu": FAILED, "bmc": WORKS, "replay": FAILED})
    assert [finding.name for finding in findings] == [*RULES, "bmc", "pdu"]
    assert findings[-2].state is State.WORKS
    assert "what the source said" in told(findings[-1])


def test_a_source_that_fails_for_no_reason_that_we_know_speaks_for_itself(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.zone("intel-rapl:0", "package-0", 0o444)
    failed = Outcome(works=False, reason="LIBRARY_FAILED", detail="an odd thing happened")
    (finding,) = [f for f in advise(facts_of(tmp_path), {"rapl_powercap": failed})
                  if f.name == "rapl_powercap"]  # fmt: skip
    assert finding.state is State.BLOCKED
    assert finding.missing == ["an odd thing happened"]


def test_what_the_configuration_leaves_out_is_off(tmp_path: Path) -> None:
    FakeMachine(tmp_path)
    off = Outcome(works=False, reason="DISABLED", detail="switched off")
    for name in RULES:
        assert diagnose(name, tmp_path, off).state is State.OFF, name
