from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.agent.doctor.finding import Outcome, State
from fakes.machine import EPYC, GRACE, XEON, FakeMachine
from unit.agent.doctor.diagnosis import WORKS, diagnose, told

OLD_AMD = "vendor_id\t: AuthenticAMD\ncpu family\t: 21\nmodel name\t: Opteron\n"
RYZEN = "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel name\t: AMD Ryzen 9 7950X\n"
MASKED = "41 30 0:52 / /sys/devices/virtual/powercap ro - tmpfs tmpfs ro\n"


def test_counters_that_only_root_reads(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    package = machine.zone("intel-rapl:0", "package-0")
    machine.zone("intel-rapl:0:0", "dram")
    finding = diagnose("rapl_powercap", tmp_path)
    assert finding.state is State.BLOCKED
    assert finding.there == ["2 zones: cpu/0 package-0, cpu/0 dram"]
    assert f"{package} (0400 " in finding.missing[0]
    rule, drop_in, chmod = finding.remedies
    assert rule.file == "/etc/udev/rules.d/70-chipwatt-powercap.rules"
    assert 'SUBSYSTEM=="powercap"' in rule.text
    assert "/bin/chgrp chipwatt /sys%p/energy_uj" in rule.text
    assert "/bin/chmod g+r /sys%p/energy_uj" in rule.text
    assert rule.text.count("\n") == 1, "udev reads a rule a line"
    assert "sudo udevadm trigger --subsystem-match=powercap" in rule.commands
    assert drop_in.text == "[Service]\nAmbientCapabilities=CAP_DAC_READ_SEARCH\n"
    assert drop_in.file.startswith("/etc/systemd/system/chipwatt-sensing.service.d/")
    assert chmod.commands == (
        f"sudo chmod a+r {tmp_path}/sys/class/powercap/intel-rapl*:*/energy_uj",
    )


def test_root_without_a_namespace_lacks_nothing(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.zone("intel-rapl:0", "package-0")
    machine.allow_reading()
    finding = diagnose("rapl_powercap", tmp_path, WORKS)
    assert (finding.state, finding.missing, finding.remedies) == (State.WORKS, [], [])
    machine.write("proc/self/uid_map", "0 100000 65536\n")
    finding = diagnose("rapl_powercap", tmp_path)
    assert finding.state is State.BLOCKED
    assert "rootless container" in told(finding)


@pytest.mark.parametrize("cpu", [XEON, EPYC])
def test_the_module_is_not_loaded(tmp_path: Path, cpu: str) -> None:
    FakeMachine(tmp_path, cpu)
    finding = diagnose("rapl_powercap", tmp_path)
    assert finding.state is State.BLOCKED
    (load,) = finding.remedies
    assert load.commands == ("sudo modprobe intel_rapl_msr",)
    assert (load.file, load.text) == (
        "/etc/modules-load.d/chipwatt-intel-rapl-msr.conf",
        "intel_rapl_msr\n",
    )


def test_a_loaded_module_that_made_nothing_is_not_loaded_again(tmp_path: Path) -> None:
    FakeMachine(tmp_path).modules("intel_rapl_msr")
    finding = diagnose("rapl_powercap", tmp_path)
    assert (finding.state, finding.remedies) == (State.ABSENT, [])
    assert "unknown to this kernel" in told(finding)


@pytest.mark.parametrize(
    ("cpu", "kernel", "state", "words"),
    [
        (EPYC, "5.4.0", State.BLOCKED, "Linux 5.11"),
        (OLD_AMD, "6.8.0", State.ABSENT, "family 17h"),
        (GRACE, "6.8.0", State.ABSENT, "see hwmon"),
    ],
)
def test_processors_and_kernels_without_rapl(
    tmp_path: Path, cpu: str, kernel: str, state: State, words: str
) -> None:
    FakeMachine(tmp_path, cpu).kernel(kernel)
    finding = diagnose("rapl_powercap", tmp_path)
    assert finding.state is state
    assert words in told(finding)


@pytest.mark.parametrize("name", ["rapl_powercap", "rapl_perf"])
@pytest.mark.parametrize(
    ("flags", "node", "words"),
    [
        ("hypervisor", "null", "rapl=true"),
        ("hypervisor tdx_guest", "null", "confidential TDX guest"),
        ("hypervisor", "sev-guest", "confidential SEV-SNP guest"),
    ],
)
def test_guests_get_no_command_that_cannot_help(
    tmp_path: Path, name: str, flags: str, node: str, words: str
) -> None:
    FakeMachine(tmp_path, XEON, flags).node(node)
    finding = diagnose(name, tmp_path)
    assert (finding.state, finding.remedies) == (State.ABSENT, [])
    assert words in told(finding)
    assert "Run the agent on the host" in told(finding)


def test_noise_by_sgx_and_silence_by_snp_are_explained(tmp_path: Path) -> None:
    sgx = FakeMachine(tmp_path / "i", XEON, "fpu sgx")
    sgx.zone("intel-rapl:0", "package-0", 0o444)
    for name in ("rapl_powercap", "rapl_perf"):
        assert "FILTERED" in told(diagnose(name, tmp_path / "i", WORKS))
    FakeMachine(tmp_path / "a", EPYC, "fpu sev_snp")
    assert "RAPL_DIS" in told(diagnose("rapl_powercap", tmp_path / "a", WORKS))
    FakeMachine(tmp_path / "n", EPYC, "fpu sgx")
    assert "FILTERED" not in told(diagnose("rapl_powercap", tmp_path / "n", WORKS))


def test_a_container_that_masks_powercap(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.write(".dockerenv")
    machine.write("proc/self/mountinfo", MASKED)
    finding = diagnose("rapl_powercap", tmp_path)
    assert finding.state is State.BLOCKED
    assert finding.remedies[0].commands == ("docker run -v /sys:/host/sys:ro …",)
    assert finding.remedies[0].text == '[sources.rapl_powercap]\nsysfs = "/host/sys"\n'


@pytest.mark.parametrize(
    ("kernel", "capability"), [("6.8.0", "CAP_PERFMON"), ("5.4.0", "CAP_SYS_ADMIN")]
)
def test_perf_without_capability(tmp_path: Path, kernel: str, capability: str) -> None:
    machine = FakeMachine(tmp_path)
    machine.kernel(kernel)
    machine.energy_pmu("energy-pkg", "energy-ram")
    finding = diagnose("rapl_perf", tmp_path)
    assert finding.state is State.BLOCKED
    assert finding.there == ["events energy-pkg, energy-ram"]
    drop_in, sysctl = finding.remedies
    assert drop_in.text == f"[Service]\nAmbientCapabilities={capability}\n"
    assert (sysctl.file, sysctl.text) == (
        "/etc/sysctl.d/70-chipwatt.conf",
        "kernel.perf_event_paranoid = 0\n",
    )


def test_perf_is_granted_by_either(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.energy_pmu("energy-pkg")
    machine.kernel("6.8.0", paranoid=0)
    assert diagnose("rapl_perf", tmp_path).missing == []
    machine.kernel("6.8.0", paranoid=4)
    machine.allow_perf()
    assert diagnose("rapl_perf", tmp_path).missing == []


def test_perf_behind_a_runtimes_filter(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.energy_pmu("energy-pkg")
    machine.write(".dockerenv")
    machine.user(0, capabilities=1 << 2, seccomp=2)
    assert "docker run --cap-add PERFMON" in told(diagnose("rapl_perf", tmp_path))


def test_perf_without_its_module(tmp_path: Path) -> None:
    FakeMachine(tmp_path)
    assert "sudo modprobe rapl" in told(diagnose("rapl_perf", tmp_path))
    FakeMachine(tmp_path / "g", GRACE)
    assert diagnose("rapl_perf", tmp_path / "g").state is State.ABSENT


def test_hsmp_where_it_can_be(tmp_path: Path) -> None:
    FakeMachine(tmp_path / "e", EPYC)
    finding = diagnose("hsmp", tmp_path / "e")
    assert finding.state is State.BLOCKED
    assert finding.remedies[0].commands == ("sudo modprobe amd_hsmp",)
    for number, (cpu, flags) in enumerate(
        [(XEON, "fpu"), (RYZEN, "fpu"), (EPYC, "hypervisor"), (OLD_AMD, "fpu")]
    ):
        FakeMachine(tmp_path / str(number), cpu, flags)
        finding = diagnose("hsmp", tmp_path / str(number))
        assert (finding.state, finding.remedies) == (State.ABSENT, [])


def test_hsmp_inside_a_container_and_behind_a_mode(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path, EPYC)
    machine.write(".dockerenv")
    assert "docker run --device /dev/hsmp" in told(diagnose("hsmp", tmp_path))
    machine.node("hsmp", 0o600)
    finding = diagnose("hsmp", tmp_path)
    assert finding.state is State.BLOCKED
    assert finding.remedies[0].text == 'KERNEL=="hsmp", GROUP="chipwatt", MODE="0640"\n'
    machine.node("hsmp", 0o644)
    assert diagnose("hsmp", tmp_path, WORKS).missing == []


def test_pyrapl_is_optional(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    off = Outcome(works=False, reason="DISABLED", detail="a cross-check only")
    finding = diagnose("pyrapl", tmp_path, off)
    assert finding.state is State.OFF
    assert "pip install 'chipwatt[pyrapl]'" in told(finding)
    machine.zone("intel-rapl:0", "package-0")
    assert "read permission" in told(diagnose("pyrapl", tmp_path, off, ["pyRAPL"]))
    machine.allow_reading()
    finding = diagnose("pyrapl", tmp_path, off, ["pyRAPL"])
    assert finding.missing == []
    assert "compares it" in told(finding)
    assert "alone, whatever is configured" in told(finding)


def test_a_range_that_the_counter_has_passed_is_told(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.zone("intel-rapl:0", "package-0").write_text("5001\n")
    machine.write("sys/class/powercap/intel-rapl:0/max_energy_range_uj", "5000\n")
    (note,) = diagnose("rapl_powercap", tmp_path, WORKS).notes
    assert "energy_uj shows 5001, beyond max_energy_range_uj 5000" in note
