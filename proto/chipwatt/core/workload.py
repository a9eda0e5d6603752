"""What the operator's scheduler says of a workload: whose chips it holds and where its CPU time is.

Both ids are opaque. The cgroup is known to this host alone; it never leaves it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from chipwatt.core.coarse import NOBODY
from chipwatt.core.identity import DeviceId, parse_device

MAX_BINDINGS: Final = 1024
"""Workloads of one host; past ``coarse.MAX_WORKLOADS`` they are told as one."""
MAX_DEVICES: Final = 128
MAX_PARTS: Final = 1024
MAX_CGROUP: Final = 1024
_ID: Final = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Holding:
    """A chip, or ``parts`` of its ``of`` parts: a MIG slice of 3 of 7.

    Whole chips that several workloads hold are shared by turns.
    """

    device: DeviceId
    parts: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.parts <= self.of <= MAX_PARTS:
            raise ValueError(f"{self.device}: {self.parts} of {self.of} parts is no share of it")

    def __str__(self) -> str:
        """Return ``gpu/GPU-<uuid>`` or ``gpu/GPU-<uuid>=3/7``."""
        return str(self.device) + (f"={self.parts}/{self.of}" if self.of > 1 else "")


@dataclass(frozen=True, slots=True)
class Binding:
    """One workload. Raises ValueError with a sentence where it cannot be one."""

    workload_id: bytes
    """Sixteen bytes, not all zero."""
    class_id: bytes = NOBODY
    """Sixteen bytes for workloads that the scheduler expects to behave alike; zeros: none."""
    cgroup: str = ""
    """Below the cgroup file system, as ``system.slice/job.scope``; empty: it gets no CPU time."""
    devices: tuple[Holding, ...] = ()

    def __post_init__(self) -> None:
        if len(self.workload_id) != 16 or self.workload_id == NOBODY:
            raise ValueError("workload_id: not sixteen bytes, or all of them zero")
        if len(self.class_id) != 16:
            raise ValueError(f"class_id: {len(self.class_id)} bytes, not 16")
        if len(self.devices) > MAX_DEVICES:
            raise ValueError(f"devices: {len(self.devices)}, at most {MAX_DEVICES}")
        if len({holding.device for holding in self.devices}) != len(self.devices):
            raise ValueError("devices: one of them is named twice")
        _check_cgroup(self.cgroup)
        if not self.cgroup and not self.devices:
            raise ValueError("devices: none, and no cgroup either: nothing to measure")

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return {
            "workload": self.workload_id.hex(),
            "class": self.class_id.hex(),
            "cgroup": self.cgroup,
            "devices": [str(holding) for holding in self.devices],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Binding:
        """Read what ``to_plain`` gave; raises ValueError, KeyError or TypeError where it is not."""
        return cls(
            parse_id(plain["workload"]),
            parse_id(plain["class"]),
            plain["cgroup"],
            tuple(parse_holding(text) for text in plain["devices"]),
        )


def parse_id(text: str) -> bytes:
    """Read a 128-bit id: 32 hexadecimal digits, hyphens as in a UUID allowed; raises ValueError."""
    digits = text.replace("-", "")
    if not _ID.fullmatch(digits):
        raise ValueError(f"{text[:40]!r} is no id of 32 hexadecimal digits")
    return bytes.fromhex(digits)


def parse_holding(text: str) -> Holding:
    """Read ``gpu/GPU-<uuid>``, ``cpu/0`` or ``gpu/0000:c1:00.0=3/7``; raises ValueError."""
    name, _, share = text.partition("=")
    device = parse_device(name)
    if not share:
        return Holding(device)
    parts, _, of = share.partition("/")
    if not (parts.isdecimal() and of.isdecimal()):
        raise ValueError(f"{text[:80]!r}: a share is written as 3/7")
    return Holding(device, int(parts), int(of))


def _check_cgroup(path: str) -> None:
    parts = PurePosixPath(path).parts
    if len(path) > MAX_CGROUP or not path.isprintable():
        raise ValueError(f"cgroup: longer than {MAX_CGROUP} characters, or not printable")
    if path.startswith("/") or ".." in parts or (path and not parts):
        raise ValueError("cgroup: give it below the cgroup file system, as system.slice/job.scope")
