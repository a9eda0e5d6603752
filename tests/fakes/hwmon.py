"""Folders as the kernel's hwmon class shows them, and a player that moves their values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def add_chip(
    sysfs: Path,
    number: int,
    name: str,
    files: Mapping[str, str],
    *,
    device: str = "",
    device_files: Mapping[str, str] | None = None,
) -> Path:
    """Make ``hwmonN`` with its files and its device (a PCI address or platform name)."""
    target = sysfs / "devices" / (device or f"platform-{number}")
    target.mkdir(parents=True, exist_ok=True)
    for file, text in (device_files or {}).items():
        path = target / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    folder = sysfs / "class/hwmon" / f"hwmon{number}"
    folder.mkdir(parents=True)
    (folder / "device").symlink_to(target)
    (folder / "name").write_text(name + "\n")
    for file, text in files.items():
        (folder / file).write_text(text + "\n")
    return folder


def add_grace(sysfs: Path, socket: int, watts: Mapping[str, int], first_number: int) -> None:
    """Add the power meters of one Grace socket: ``watts`` by Grace, CPU, SysIO, Module."""
    for offset, (part, power_w) in enumerate(watts.items()):
        add_chip(
            sysfs,
            first_number + offset,
            "power_meter",
            {},
            device=f"ACPI000D:{first_number + offset:02d}",
            device_files={
                "power1_average": str(power_w * 1_000_000),
                "power1_average_interval": "50",
                "power1_oem_info": f"{part} Power Socket {socket}",
            },
        )
