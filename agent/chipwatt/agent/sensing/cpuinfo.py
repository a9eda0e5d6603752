"""What ``/proc/cpuinfo`` says about the processors of this host."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CpuInfo:
    """The part of cpuinfo that power needs."""

    package_of_cpu: dict[int, int]
    """Physical package of each logical CPU. An architecture that does not print
    ``physical id`` (most ARM machines) counts as one package 0."""
    model: str
    """Model name of the first processor, empty where the kernel prints none."""
    vendor: str
    flags: frozenset[str]
    """Features of the first processor."""

    @property
    def energy_filtered(self) -> bool:
        """Whether RAPL readings carry deliberate noise.

        Intel's energy filtering is on wherever SGX is (Intel guidance 660225,
        CVE-2020-8694); the kernel shows ``sgx`` among the flags only where
        firmware enabled it.
        """
        return self.vendor == "GenuineIntel" and "sgx" in self.flags


def read_cpuinfo(procfs: Path) -> CpuInfo | None:
    """Read ``cpuinfo`` below ``procfs``; None where there is none."""
    try:
        text = (procfs / "cpuinfo").read_text(errors="replace")
    except OSError:
        return None
    packages: dict[int, int] = {}
    first: dict[str, str] = {}
    cpu: int | None = None
    for line in text.splitlines():
        key, separator, value = (part.strip() for part in line.partition(":"))
        if not separator:
            continue
        first.setdefault(key, value)
        if key == "processor" and value.isdigit():
            cpu = int(value)
            packages[cpu] = 0
        elif key == "physical id" and cpu is not None and value.isdigit():
            packages[cpu] = int(value)
    return CpuInfo(
        package_of_cpu=packages,
        model=first.get("model name", ""),
        vendor=first.get("vendor_id", ""),
        flags=frozenset(first.get("flags", "").split()),
    )
