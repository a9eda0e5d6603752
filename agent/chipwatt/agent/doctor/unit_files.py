"""Reads the systemd units that are installed, with their drop-ins.

A unit is the first of its name in systemd's order of folders; a setting's last word counts,
and paths add up until an empty one forgets them (systemd.unit(5), systemd.exec(5)).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from chipwatt.agent.sensing.sysfs import read_text

_FOLDERS = ("etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system",
            "lib/systemd/system")  # fmt: skip
_WRITABLE = "ReadWritePaths"


@dataclass(slots=True)
class Unit:
    """What stands in one unit's ``[Service]``."""

    files: list[Path] = field(default_factory=list)
    """The unit's and its drop-ins'; empty where it is not installed."""
    settings: dict[str, str] = field(default_factory=dict)
    writable: list[Path] = field(default_factory=list)
    """``ReadWritePaths=``, all of them."""


def read_unit(root: Path, name: str) -> Unit:
    """Read a unit below ``root``; what cannot be read says nothing."""
    unit = Unit()
    for folder in _FOLDERS:
        text = read_text(root / folder / name)
        if text is not None:
            unit.files.append(root / folder / name)
            _take(unit, text)
            break
    else:
        return unit
    drop_ins = {
        path.name: path
        for folder in reversed(_FOLDERS)
        for path in (root / folder / f"{name}.d").glob("*.conf")
    }
    for _, path in sorted(drop_ins.items()):
        unit.files.append(path)
        _take(unit, read_text(path) or "")
    return unit


def _take(unit: Unit, text: str) -> None:
    section = ""
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("["):
            section = stripped
        elif section == "[Service]" and "=" in stripped and not stripped.startswith(("#", ";")):
            name, _, value = (part.strip() for part in stripped.partition("="))
            unit.settings[name] = value
            if name == _WRITABLE:
                told = [Path(path.lstrip("-+")) for path in value.split()]
                unit.writable = [*unit.writable, *told] if told else []
