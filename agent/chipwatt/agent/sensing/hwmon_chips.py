"""Which hwmon chips measure power of what: one row a driver.

Sources: kernel documents ``hwmon/amdgpu`` (gpu/amdgpu/thermal), ``acpi_power_meter``,
``xgene-hwmon``, ``smpro-hwmon``, ``occ``, ``ibmpowernv``, ``amd_energy``; i915 and xe ABI
documents ``sysfs-driver-intel-i915-hwmon`` and ``sysfs-driver-intel-xe-hwmon``;
NVIDIA Grace platform documents for the names in ``power1_oem_info``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chipwatt.core.model import DeviceKind, Domain


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a channel whose label matches ``pattern`` covers."""

    pattern: re.Pattern[str]
    kind: DeviceKind
    domain: Domain
    root: bool
    """Whether it is added up; a ``MODULE`` or ``PSYS`` only where nothing inside it reports."""


@dataclass(frozen=True, slots=True)
class Chip:
    """One driver's channels."""

    meanings: tuple[Meaning, ...]
    pci: bool = False
    """Whether the chip hangs on a PCI device, whose address then names the device."""
    averaging_ms: int = 0
    """Documented averaging of its gauges where the chip does not tell."""
    refresh_ms: int = 0
    """Documented refresh; 0 not known."""


def _meaning(pattern: str, kind: DeviceKind, domain: Domain, *, root: bool = True) -> Meaning:
    return Meaning(re.compile(pattern, re.IGNORECASE), kind, domain, root)


_CPU, _GPU, _MODULE = DeviceKind.CPU, DeviceKind.GPU, DeviceKind.MODULE

CHIPS: Final[Mapping[str, Chip]] = {
    "amdgpu": Chip((_meaning(r"PPT|", _GPU, Domain.BOARD),), pci=True),
    "i915": Chip(
        (
            _meaning(r"card|", _GPU, Domain.BOARD),
            _meaning(r"pkg|package|gt\d*", _GPU, Domain.PACKAGE, root=False),
        ),
        pci=True,
    ),
    "xe": Chip(
        (
            _meaning(r"card|", _GPU, Domain.BOARD),
            _meaning(r"pkg|package", _GPU, Domain.PACKAGE, root=False),
        ),
        pci=True,
    ),
    # Grace: "Grace Power Socket 0" is all of the CPU socket with its memory; "CPU" and
    # "SysIO" lie inside it, "Module" around it (with the Hopper or Blackwell of a superchip).
    "power_meter": Chip(
        (
            _meaning(r"grace power socket (?P<n>\d{1,99})", _CPU, Domain.PACKAGE),
            _meaning(r"cpu power socket (?P<n>\d{1,99})", _CPU, Domain.CORE, root=False),
            _meaning(r"sysio power socket (?P<n>\d{1,99})", _CPU, Domain.UNCORE, root=False),
            _meaning(r"module power socket (?P<n>\d{1,99})", _MODULE, Domain.MODULE),
        ),
        averaging_ms=50,
        refresh_ms=50,
    ),
    "apm_xgene": Chip(
        (
            _meaning(r"cpu power", _CPU, Domain.CORE),
            _meaning(r"io power", _CPU, Domain.UNCORE),
        )
    ),
    "smpro_hwmon": Chip(
        (
            _meaning(r"cpu power", _CPU, Domain.CORE),
            _meaning(r"soc power", _CPU, Domain.UNCORE),
            _meaning(r"dimm.* power.*", DeviceKind.MEMORY, Domain.DRAM),
        )
    ),
    "occ": Chip(
        (
            _meaning(r"system", DeviceKind.BOARD, Domain.PSYS),
            _meaning(r"proc(essor)?|chip( \d+)?", _CPU, Domain.PACKAGE),
            _meaning(r"vdd", _CPU, Domain.CORE, root=False),
            _meaning(r"vdn", _CPU, Domain.UNCORE, root=False),
            _meaning(r"mem(ory)?( \d+)?", _CPU, Domain.DRAM),
        ),
        refresh_ms=40,
    ),
    "ibmpowernv": Chip(
        (
            _meaning(r"system", DeviceKind.BOARD, Domain.PSYS),
            _meaning(r"chip (?P<n>\d{1,99})", _CPU, Domain.PACKAGE),
            _meaning(r"chip (?P<n>\d{1,99}) vdd", _CPU, Domain.CORE, root=False),
            _meaning(r"chip (?P<n>\d{1,99}) vdn", _CPU, Domain.UNCORE, root=False),
        ),
        refresh_ms=40,
    ),
    "amd_energy": Chip(
        (
            _meaning(r"esocket(?P<n>\d{1,99})", _CPU, Domain.PACKAGE),
            _meaning(r"ecore\d+", _CPU, Domain.CORE, root=False),
        ),
        refresh_ms=1,
    ),
    "amd_hsmp_hwmon": Chip((_meaning(r"", _CPU, Domain.PACKAGE),)),
}
"""By the content of the chip's ``name`` file."""


def meaning_of(chip: Chip, label: str) -> tuple[Meaning, int | None] | None:
    """Return what a label means and the number in it; None for a channel that is not ours."""
    for meaning in chip.meanings:
        match = meaning.pattern.fullmatch(label.strip())
        if match is not None:
            number = match.groupdict().get("n")
            return meaning, None if number is None else int(number)
    return None
