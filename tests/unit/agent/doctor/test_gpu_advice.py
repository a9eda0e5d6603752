from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.agent.doctor.finding import State
from chipwatt.agent.doctor.machine import AMD, INTEL, NVIDIA
from chipwatt.agent.doctor.process import read_file
from fakes.machine import FakeMachine
from unit.agent.doctor.diagnosis import WORKS, diagnose, told

LIBRARY = "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"
NVIDIA_VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.1.2  x\n"


def with_driver(root: Path) -> FakeMachine:
    """Return a host with a card, its driver, its nodes and its library."""
    machine = FakeMachine(root)
    machine.gpu("0000:01:00.0", NVIDIA, "nvidia")
    machine.write("proc/driver/nvidia/version", NVIDIA_VERSION)
    machine.node("nvidiactl")
    machine.write(LIBRARY)
    return machine


@pytest.mark.parametrize("name", ["nvml", "amdsmi"])
def test_no_card_needs_nothing(tmp_path: Path, name: str) -> None:
    FakeMachine(tmp_path).gpu("0000:00:02.0", INTEL, "i915")
    finding = diagnose(name, tmp_path)
    assert (finding.state, finding.remedies) == (State.ABSENT, [])


def test_only_the_binding_is_missing(tmp_path: Path) -> None:
    with_driver(tmp_path)
    finding = diagnose("nvml", tmp_path)
    assert finding.state is State.BLOCKED
    assert finding.there == [
        "1 NVIDIA on the PCI bus, driver nvidia",
        "driver 580.1.2",
        str(read_file(tmp_path / "dev/nvidiactl")),
        f"{tmp_path / LIBRARY}",
    ]
    assert [remedy.commands for remedy in finding.remedies] == [("pip install 'chipwatt[nvidia]'",)]
    finding = diagnose("nvml", tmp_path, WORKS, ["pynvml"])
    assert (finding.state, finding.missing) == (State.WORKS, [])


@pytest.mark.parametrize(
    ("driver", "state", "words"),
    [
        ("", State.BLOCKED, "sudo modprobe nvidia"),
        ("nouveau", State.BLOCKED, "sudo apt install nvidia-driver"),
        ("vfio-pci", State.ABSENT, "run an agent inside"),
    ],
)
def test_a_card_without_nvidias_driver(
    tmp_path: Path, driver: str, state: State, words: str
) -> None:
    FakeMachine(tmp_path).gpu("0000:01:00.0", NVIDIA, driver)
    finding = diagnose("nvml", tmp_path, bindings=["pynvml"])
    assert finding.state is state
    assert words in told(finding)
    assert "libnvidia-ml" not in told(finding), "a library is of no use without a driver"


def test_nodes_are_missing_on_a_host_and_in_a_container(tmp_path: Path) -> None:
    machine = with_driver(tmp_path)
    (tmp_path / "dev/nvidiactl").unlink()
    assert "sudo nvidia-modprobe -c 0" in told(diagnose("nvml", tmp_path))
    machine.write(".dockerenv")
    finding = diagnose("nvml", tmp_path)
    assert "docker run --gpus all" in told(finding)
    assert "runtimeClassName: nvidia" in told(finding)


def test_nodes_may_be_closed(tmp_path: Path) -> None:
    with_driver(tmp_path).node("nvidiactl", 0o660)
    finding = diagnose("nvml", tmp_path, bindings=["pynvml"])
    assert finding.state is State.BLOCKED
    assert finding.remedies[0].text == "options nvidia NVreg_DeviceFileMode=0666\n"


def test_the_library_is_missing(tmp_path: Path) -> None:
    with_driver(tmp_path)
    (tmp_path / LIBRARY).unlink()
    assert "libnvidia-compute" in told(diagnose("nvml", tmp_path, bindings=["pynvml"]))


def test_amd_from_nothing_to_everything(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.gpu("0000:c1:00.0", AMD)
    assert "sudo modprobe amdgpu" in told(diagnose("amdsmi", tmp_path))
    machine = FakeMachine(tmp_path / "d")
    machine.gpu("0000:c1:00.0", AMD, "amdgpu")
    finding = diagnose("amdsmi", tmp_path / "d")
    assert finding.missing[0] == "/dev/kfd"
    assert "sudo apt install amd-smi-lib" in told(finding)
    assert "pip install /opt/rocm/share/amd_smi" in told(finding)
    machine.node("kfd", 0o660)
    machine.node("dri/renderD128", 0o660)
    machine.write("opt/rocm/.info/version", "6.4.1-83\n")
    machine.write("opt/rocm/lib/libamd_smi.so")
    finding = diagnose("amdsmi", tmp_path / "d", bindings=["amdsmi"])
    assert finding.state is State.BLOCKED
    assert finding.there == [
        "1 AMD on the PCI bus, driver amdgpu",
        "ROCm 6.4.1-83",
        f"{tmp_path}/d/opt/rocm/lib/libamd_smi.so",
    ]
    (groups,) = finding.remedies
    assert groups.commands == ("sudo usermod -aG render,video chipwatt",)
    assert "renderD128 (0660 " in finding.missing[0]
    machine.write(".dockerenv")
    (tmp_path / "d/dev/kfd").unlink()
    assert "--device /dev/kfd --device /dev/dri" in told(diagnose("amdsmi", tmp_path / "d"))


def test_a_suspended_card_is_named_with_what_keeps_it_awake(tmp_path: Path) -> None:
    FakeMachine(tmp_path).gpu("0000:c1:00.0", AMD, "amdgpu", "suspended")
    for name in ("amdsmi", "hwmon"):
        words = told(diagnose(name, tmp_path, WORKS))
        assert "suspended" in words
        assert "echo on | sudo tee /sys/bus/pci/devices/0000:c1:00.0/power/control" in words
