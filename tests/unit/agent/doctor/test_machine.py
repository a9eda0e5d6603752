from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.agent.doctor.facts import Places, gather
from chipwatt.agent.doctor.machine import (
    AMD,
    INTEL,
    NVIDIA,
    Machine,
    PciGpu,
    read_cpu,
    read_machine,
)
from fakes.machine import EPYC, GRACE, XEON, FakeMachine


def read(root: Path) -> Machine:
    return read_machine(root, root / "sys", root / "proc")


def test_an_empty_root_says_nothing_and_raises_nothing(tmp_path: Path) -> None:
    assert read(tmp_path) == Machine()
    facts = gather(Places.of(tmp_path, {}), lambda _: False)
    found = (facts.counters, facts.chips, facts.nodes, facts.libraries, facts.rocm)
    assert not any(found)


def test_cpus_by_their_own_words(tmp_path: Path) -> None:
    FakeMachine(tmp_path / "x", EPYC, "fpu sev_snp")
    epyc = read_cpu(tmp_path / "x/proc")
    assert (epyc.vendor, epyc.family, epyc.model) == ("AuthenticAMD", 25, "AMD EPYC 9654")
    assert epyc.is_x86
    assert "sev_snp" in epyc.flags
    FakeMachine(tmp_path / "g", GRACE)
    grace = read_cpu(tmp_path / "g/proc")
    assert grace.is_grace_like
    assert not grace.is_x86
    FakeMachine(tmp_path / "p", "cpu\t: POWER9, altivec supported\nplatform\t: PowerNV\n")
    power = read_cpu(tmp_path / "p/proc")
    assert (power.platform, power.model[:6]) == ("PowerNV", "POWER9")


def test_gpus_are_display_and_accelerator_functions_of_three_makers(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.gpu("0000:01:00.0", NVIDIA, "nvidia")
    machine.gpu("0000:c1:00.0", AMD, "amdgpu", "suspended")
    machine.gpu("0000:c2:00.0", AMD)
    machine.write("sys/bus/pci/devices/0000:c2:00.0/class", "0x120000\n")
    machine.gpu("0000:00:02.0", INTEL, "i915")
    machine.gpu("0000:02:00.0", 0x1A03, "ast")  # a board management controller's display
    machine.gpu("0000:00:1f.0", INTEL)
    machine.write("sys/bus/pci/devices/0000:00:1f.0/class", "0x060100\n")
    machine.gpu("0000:99:00.0", NVIDIA)
    machine.write("sys/bus/pci/devices/0000:99:00.0/class", "rubbish")
    found = read(tmp_path)
    assert found.gpus == (
        PciGpu("0000:00:02.0", INTEL, "i915", ""),
        PciGpu("0000:01:00.0", NVIDIA, "nvidia", ""),
        PciGpu("0000:c1:00.0", AMD, "amdgpu", "suspended"),
        PciGpu("0000:c2:00.0", AMD, "", ""),
    )
    assert [gpu.address for gpu in found.made_by(AMD)] == ["0000:c1:00.0", "0000:c2:00.0"]


def test_modules_loaded_and_built_in(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.modules("intel_rapl_msr", "nvidia")
    machine.write("sys/module/acpi_power_meter/parameters/force_cap_on", "Y\n")
    found = read(tmp_path)
    assert found.modules == {"intel_rapl_msr", "nvidia", "acpi_power_meter"}
    assert found.force_cap_on is True


@pytest.mark.parametrize(
    ("release", "kernel"),
    [("6.8.0-45-generic", (6, 8)), ("5.14.0-427.el9", (5, 14)), ("odd", (0, 0))],
)
def test_the_kernels_version(tmp_path: Path, release: str, kernel: tuple[int, int]) -> None:
    FakeMachine(tmp_path).kernel(release, paranoid=-1)
    assert read(tmp_path).kernel == kernel
    assert read(tmp_path).perf_event_paranoid == -1


@pytest.mark.parametrize(
    ("flags", "path", "text", "hypervisor", "confidential"),
    [
        ("hypervisor", "x", "", "a hypervisor", ""),
        ("hypervisor", "sys/class/dmi/id/product_name", "KVM\n", "KVM", ""),
        ("hypervisor", "sys/hypervisor/type", "xen\n", "xen", ""),
        ("fpu", "sys/class/dmi/id/product_name", "KVM Virtual Machine\n", "KVM Virtual Machine",
         ""),
        ("fpu", "sys/class/dmi/id/product_name", "PowerEdge R760\n", "", ""),
        ("hypervisor tdx_guest", "x", "", "a hypervisor", "TDX"),
        ("hypervisor", "dev/tdx_guest", "", "a hypervisor", "TDX"),
        ("hypervisor", "dev/sev-guest", "", "a hypervisor", "SEV-SNP"),
        ("hypervisor", "sys/devices/system/cpu/sev/vmpl", "0\n", "a hypervisor", "SEV-SNP"),
        ("sev sev_es sev_snp", "dev/sev", "", "", ""),
    ],
)  # fmt: skip
def test_guests_and_confidential_guests(
    tmp_path: Path, flags: str, path: str, text: str, hypervisor: str, confidential: str
) -> None:
    FakeMachine(tmp_path, XEON, flags).write(path, text)
    found = read(tmp_path)
    assert (found.hypervisor, found.confidential) == (hypervisor, confidential)


def test_the_nvidia_driver_tells_its_version(tmp_path: Path) -> None:
    text = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\n"
    FakeMachine(tmp_path).write("proc/driver/nvidia/version", text)
    assert read(tmp_path).nvidia_driver == "580.95.05"
    FakeMachine(tmp_path / "o").write(
        "proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.1.2 x\n"
    )
    assert read(tmp_path / "o").nvidia_driver == "535.1.2"
