"""What machine this is: processor, kernel, hypervisor, GPUs on the PCI bus.

Facts from ``/proc`` and ``/sys``. Nothing here raises: what cannot be read is empty.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from chipwatt.agent.sensing.sysfs import read_int, read_text

NVIDIA, AMD, INTEL = 0x10DE, 0x1002, 0x8086
_CHIP_MAKERS = (NVIDIA, AMD, INTEL)
_GPU_CLASSES = (0x03, 0x12)
"""Display controllers and processing accelerators (PCI code and ID assignment specification)."""
_GRACE = ("0x41", "0xd4f")
"""Implementer and part of the Arm Neoverse V2 cores that Grace is made of."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """The first processor, as cpuinfo describes it."""

    vendor: str = ""
    model: str = ""
    family: int = 0
    flags: frozenset[str] = frozenset()
    implementer: str = ""
    """Of an Arm core: ``0x41``."""
    part: str = ""
    platform: str = ""
    """Of an IBM machine: ``PowerNV``."""

    @property
    def is_x86(self) -> bool:
        """Whether it may have RAPL."""
        return self.vendor in ("GenuineIntel", "AuthenticAMD", "HygonGenuine")

    @property
    def is_grace_like(self) -> bool:
        """Whether its cores are those of NVIDIA Grace."""
        return (self.implementer, self.part) == _GRACE


@dataclass(frozen=True, slots=True)
class PciGpu:
    """A GPU or accelerator on the bus."""

    address: str
    vendor: int
    driver: str
    """Name of the bound kernel driver; empty where none is."""
    runtime_status: str
    """``active``, ``suspended``, ``unsupported``; empty where not told."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Everything about the machine that decides which interface can be there."""

    cpu: Cpu = field(default_factory=Cpu)
    kernel: tuple[int, int] = (0, 0)
    modules: frozenset[str] = frozenset()
    """Loaded or built in, dashes as underscores."""
    hypervisor: str = ""
    """Empty on bare metal; else its name, or ``a hypervisor``."""
    confidential: str = ""
    """``SEV-SNP`` or ``TDX`` inside such a guest."""
    perf_event_paranoid: int | None = None
    gpus: tuple[PciGpu, ...] = ()
    acpi_power_meters: int = 0
    """Power meters that firmware announces (ACPI000D)."""
    force_cap_on: bool | None = None
    """The option of ``acpi_power_meter``; None where the module is not there."""
    nvidia_driver: str = ""
    """Version of the loaded NVIDIA kernel module."""

    def made_by(self, vendor: int) -> list[PciGpu]:
        """Return the GPUs of one PCI vendor."""
        return [gpu for gpu in self.gpus if gpu.vendor == vendor]


def read_machine(root: Path, sysfs: Path, procfs: Path) -> Machine:
    """Gather the facts."""
    cpu = read_cpu(procfs)
    option = read_text(sysfs / "module/acpi_power_meter/parameters/force_cap_on")
    version = read_text(procfs / "driver/nvidia/version") or ""
    driver = re.search(r"Kernel Module\b.*?\s(\d+\.[\d.]+)", version)
    return Machine(
        cpu=cpu,
        kernel=_kernel(read_text(procfs / "sys/kernel/osrelease") or ""),
        modules=_modules(sysfs, procfs),
        hypervisor=_hypervisor(cpu, sysfs),
        confidential=_confidential(cpu, root, sysfs),
        perf_event_paranoid=read_int(procfs / "sys/kernel/perf_event_paranoid"),
        gpus=tuple(_gpus(sysfs / "bus/pci/devices")),
        acpi_power_meters=len(list((sysfs / "bus/acpi/devices").glob("ACPI000D:*"))),
        force_cap_on=None if option is None else option.upper() in ("Y", "1"),
        nvidia_driver=driver[1] if driver else "",
    )


def read_cpu(procfs: Path) -> Cpu:
    """Return what ``cpuinfo`` says first of each thing."""
    first: dict[str, str] = {}
    for line in (read_text(procfs / "cpuinfo") or "").splitlines():
        key, separator, value = (part.strip() for part in line.partition(":"))
        if separator:
            first.setdefault(key, value)
    family = first.get("cpu family", "")
    return Cpu(
        vendor=first.get("vendor_id", ""),
        model=first.get("model name", "") or first.get("cpu", ""),
        family=int(family) if family.isdigit() else 0,
        flags=frozenset(first.get("flags", "").split()),
        implementer=first.get("CPU implementer", ""),
        part=first.get("CPU part", ""),
        platform=first.get("platform", ""),
    )


def _kernel(release: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _modules(sysfs: Path, procfs: Path) -> frozenset[str]:
    loaded = {line.split()[0] for line in (read_text(procfs / "modules") or "").splitlines()}
    folder = sysfs / "module"
    built_in = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return frozenset(loaded | built_in)


def _hypervisor(cpu: Cpu, sysfs: Path) -> str:
    named = read_text(sysfs / "hypervisor/type") or ""
    product = read_text(sysfs / "class/dmi/id/product_name") or ""
    if "hypervisor" in cpu.flags:
        return named or product or "a hypervisor"
    # Arm has no such flag; a machine that calls itself virtual is.
    is_virtual = re.search(r"kvm|virtual|qemu|bhyve", product, re.IGNORECASE)
    return named or (product if is_virtual else "")


def _confidential(cpu: Cpu, root: Path, sysfs: Path) -> str:
    """Return the kind of confidential guest: these marks exist inside one only."""
    if "tdx_guest" in cpu.flags or (root / "dev/tdx_guest").exists():
        return "TDX"
    if (root / "dev/sev-guest").exists() or (sysfs / "devices/system/cpu/sev").is_dir():
        return "SEV-SNP"
    return ""


def _gpus(folder: Path) -> list[PciGpu]:
    found = []
    for device in sorted(folder.iterdir()) if folder.is_dir() else ():
        vendor = _hex(read_text(device / "vendor"))
        if vendor in _CHIP_MAKERS and _hex(read_text(device / "class")) >> 16 in _GPU_CLASSES:
            driver = device / "driver"
            found.append(
                PciGpu(
                    address=device.name,
                    vendor=vendor,
                    driver=driver.resolve().name if driver.exists() else "",
                    runtime_status=read_text(device / "power/runtime_status") or "",
                )
            )
    return found


def _hex(text: str | None) -> int:
    try:
        return int(text or "0", 16)
    except ValueError:
        return 0
