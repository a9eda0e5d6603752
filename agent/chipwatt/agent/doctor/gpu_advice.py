"""Rules for what measures GPUs through vendor libraries: NVML and AMD SMI."""

from __future__ import annotations

from chipwatt.agent.doctor.facts import Facts
from chipwatt.agent.doctor.finding import GROUP, Finding, Outcome, Remedy, begin, block
from chipwatt.agent.doctor.machine import AMD, NVIDIA, PciGpu

_NVIDIA_CONTAINER = Remedy(
    "let the runtime bring the driver in (nvidia-container-toolkit on the host)",
    (
        "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=utility …",
        "# Kubernetes: runtimeClassName: nvidia, and NVIDIA_VISIBLE_DEVICES=all in the pod's env",
    ),
)
_AMD_CONTAINER = Remedy(
    "pass the device nodes and their groups in",
    ("docker run --device /dev/kfd --device /dev/dri --group-add video --group-add render …",),
)


def nvml(facts: Facts, outcome: Outcome) -> Finding:
    """Look at cards, driver, nodes, library, binding: each is of use only with the one before."""
    finding = begin("nvml", outcome)
    gpus, control = facts.machine.made_by(NVIDIA), facts.nodes.get("nvidiactl")
    _describe(finding, "NVIDIA", gpus)
    if facts.machine.nvidia_driver:
        finding.there.append(f"driver {facts.machine.nvidia_driver}")
    if outcome.works:
        return finding
    if not gpus and control is None:
        finding.missing.append("an NVIDIA GPU on the PCI bus")
        return finding
    if not _nvidia_driver(finding, facts, gpus):
        return finding
    if control is None:
        _no_nvidia_node(finding, facts)
    elif not facts.process.may(control, write=True):
        block(
            finding,
            f"permission to read and write {control}, for {facts.process}",
            Remedy(
                "let the driver give its nodes to everybody (its default), then reload it",
                ("sudo modprobe -r nvidia_uvm nvidia && sudo modprobe nvidia",),
                "/etc/modprobe.d/chipwatt-nvidia.conf",
                "options nvidia NVreg_DeviceFileMode=0666\n",
            ),
        )
    else:
        finding.there.append(str(control))
    _library(
        finding,
        facts,
        "libnvidia-ml.so.1",
        _NVIDIA_CONTAINER
        if facts.container.kind
        else Remedy(
            "install the driver's user-space part of the same version",
            (
                "sudo apt install libnvidia-compute-VERSION    # Debian, Ubuntu",
                "sudo dnf install nvidia-driver-NVML           # RHEL, Fedora",
            ),
        ),
    )
    _binding(finding, facts, "pynvml", "nvidia-ml-py", "nvidia")
    return finding


def amdsmi(facts: Facts, outcome: Outcome) -> Finding:
    """Look at cards, driver, device nodes and their groups, ROCm's library, binding."""
    finding = begin("amdsmi", outcome)
    gpus, kfd = facts.machine.made_by(AMD), facts.nodes.get("kfd")
    _describe(finding, "AMD", gpus)
    _note_runtime_power(finding, gpus)
    if facts.rocm:
        finding.there.append(f"ROCm {facts.rocm}")
    if outcome.works:
        return finding
    if not gpus and kfd is None:
        finding.missing.append("an AMD GPU on the PCI bus")
        return finding
    if gpus and not _bound(finding, gpus, "amdgpu", "sudo modprobe amdgpu"):
        return finding
    if kfd is None:
        block(
            finding,
            "/dev/kfd",
            _AMD_CONTAINER
            if facts.container.kind
            else Remedy("load the driver that makes it", ("sudo modprobe amdgpu",)),
        )
    closed = [
        file
        for file in (kfd, *facts.render_nodes)
        if file is not None and not facts.process.may(file, write=True)
    ]
    if closed:
        block(
            finding,
            f"permission to read and write {', '.join(map(str, closed))}, for {facts.process}",
            Remedy(
                "join the groups that own them, then log in again (a service: "
                "SupplementaryGroups=render video)",
                (f"sudo usermod -aG render,video {GROUP}",),
            ),
        )
    _library(
        finding,
        facts,
        "libamd_smi.so",
        Remedy(
            "install ROCm's package; a ROCm elsewhere than /opt/rocm is named by ROCM_PATH",
            ("sudo apt install amd-smi-lib    # or: sudo dnf install amd-smi-lib",),
        ),
    )
    if "amdsmi" not in facts.bindings:
        block(
            finding,
            "the Python package amdsmi, of the same release as libamd_smi.so",
            Remedy("install ROCm's own copy", ("pip install /opt/rocm/share/amd_smi",)),
            Remedy("or the one from PyPI, near enough", ("pip install 'chipwatt[amd]'",)),
        )
    return finding


def _describe(finding: Finding, maker: str, gpus: list[PciGpu]) -> None:
    if gpus:
        drivers = sorted({gpu.driver or "no driver" for gpu in gpus})
        finding.there.append(f"{len(gpus)} {maker} on the PCI bus, driver {', '.join(drivers)}")


def _nvidia_driver(finding: Finding, facts: Facts, gpus: list[PciGpu]) -> bool:
    """Return whether there is a driver to talk to; say what to do where there is none."""
    if facts.machine.nvidia_driver or facts.nodes.get("nvidiactl") is not None or not gpus:
        return True
    if any(gpu.driver == "nouveau" for gpu in gpus):
        block(
            finding,
            "NVIDIA's driver: nouveau holds the card and has no NVML",
            Remedy(
                "install NVIDIA's driver, which replaces nouveau at the next boot",
                (
                    "sudo ubuntu-drivers install --gpgpu    # Ubuntu",
                    "sudo apt install nvidia-driver         # Debian, with non-free enabled",
                    "sudo dnf install nvidia-open           # RHEL, Fedora, NVIDIA's repository",
                ),
            ),
        )
        return False
    return _bound(finding, gpus, "nvidia", "sudo modprobe nvidia")


def _bound(finding: Finding, gpus: list[PciGpu], driver: str, command: str) -> bool:
    """Return whether any card has its driver; say what to do where none has."""
    if any(gpu.driver == driver for gpu in gpus):
        return True
    if all(gpu.driver.startswith("vfio") for gpu in gpus):
        finding.missing.append(f"the driver {driver}: the cards are passed through by vfio-pci")
        finding.notes.append("the guest that has them can measure them: run an agent inside it")
        return False
    addresses = " ".join(gpu.address for gpu in gpus)
    block(
        finding,
        f"the driver {driver} on {addresses}",
        Remedy("load it, or install it where modprobe does not know it", (command,)),
    )
    return False


def _no_nvidia_node(finding: Finding, facts: Facts) -> None:
    block(
        finding,
        "/dev/nvidiactl",
        _NVIDIA_CONTAINER
        if facts.container.kind
        else Remedy("let the driver's own tool make the nodes", ("sudo nvidia-modprobe -c 0",)),
    )


def _library(finding: Finding, facts: Facts, name: str, remedy: Remedy) -> None:
    place = facts.libraries.get(name)
    if place is None:
        block(finding, f"{name} in the usual folders", remedy)
    else:
        finding.there.append(str(place))


def _binding(finding: Finding, facts: Facts, module: str, package: str, extra: str) -> None:
    if module not in facts.bindings:
        block(
            finding,
            f"the Python package {package}",
            Remedy("install it", (f"pip install 'chipwatt[{extra}]'",)),
        )


def _note_runtime_power(finding: Finding, gpus: list[PciGpu]) -> None:
    asleep = [gpu for gpu in gpus if gpu.runtime_status == "suspended"]
    for gpu in asleep:
        finding.notes.append(
            f"{gpu.address} is suspended (power/runtime_status): reading would wake it, and its "
            f"first values would be false for 9 to 15 s. To keep it awake: "
            f"echo on | sudo tee /sys/bus/pci/devices/{gpu.address}/power/control"
        )
