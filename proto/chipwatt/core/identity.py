"""Who is who: hosts, boots and devices as 128-bit integers, never as tenant text."""

from __future__ import annotations

import os
import re
import secrets
import uuid
from dataclasses import dataclass
from pathlib import Path

from chipwatt.core.model import DeviceKind

_PCI_MARK = 1 << 32
_PCI_ADDRESS = re.compile(r"([0-9a-f]{4,5}):([0-9a-f]{2}):([0-1][0-9a-f])\.([0-7])", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class DeviceId:
    """A physical chip or module.

    Either ``uid`` names it (the vendor's 128-bit UUID, or a PCI address made by
    ``pci_uid``) and ``ordinal`` is 0, or ``uid`` is 0 and ``ordinal`` (package
    number, position) tells devices of one kind apart.
    """

    kind: DeviceKind
    ordinal: int = 0
    uid: int = 0

    def __post_init__(self) -> None:
        if self.uid and self.ordinal:
            raise ValueError("a device has a uid or an ordinal, not both")

    def __str__(self) -> str:
        """Return ``cpu/0``, ``gpu/GPU-<uuid>`` or ``gpu/0000:c1:00.0``."""
        name = self.kind.name.lower()
        if not self.uid:
            return f"{name}/{self.ordinal}"
        if self.uid >> 32 == 1:
            function = self.uid & 0xFFFF
            domain = (self.uid >> 16) & 0xFFFF
            bus, slot = function >> 8, (function >> 3) & 0x1F
            return f"{name}/{domain:04x}:{bus:02x}:{slot:02x}.{function & 7}"
        prefix = "GPU-" if self.kind is DeviceKind.GPU else ""
        return f"{name}/{prefix}{uuid.UUID(int=self.uid)}"


def pci_uid(address: str) -> int:
    """Return the uid of a PCI function such as ``0000:c1:00.0``.

    Real UUIDs are never this small, so the two cannot meet. Raises ValueError
    where ``address`` is not one.
    """
    match = _PCI_ADDRESS.fullmatch(address.lower())
    if match is None or int(match[1], 16) > 0xFFFF:
        raise ValueError(f"{address!r} is no PCI address")
    domain, bus, slot, function = (int(part, 16) for part in match.groups())
    return _PCI_MARK | domain << 16 | bus << 8 | slot << 3 | function


def parse_device(text: str) -> DeviceId:
    """Read what ``str(DeviceId)`` wrote.

    Raises ValueError where ``text`` is no device id.
    """
    kind_name, _, rest = text.partition("/")
    try:
        kind = DeviceKind[kind_name.upper()]
    except KeyError:
        raise ValueError(f"{text!r} is no device id: unknown kind {kind_name!r}") from None
    if rest.isdigit():
        return DeviceId(kind, int(rest))
    if ":" in rest:
        return DeviceId(kind, 0, pci_uid(rest))
    return DeviceId(kind, 0, uuid.UUID(rest.removeprefix("GPU-")).int)


def host_id(state_dir: Path, root: Path = Path("/")) -> bytes:
    """Return this host's 16-byte id.

    That is systemd's machine id, which OpenTelemetry's ``host.id`` also is on
    Linux; where a machine has none (some containers), a random one that is
    kept in ``state_dir``.
    """
    for name in ("etc/machine-id", "var/lib/dbus/machine-id"):
        try:
            value = bytes.fromhex((root / name).read_text().strip())
        except (OSError, ValueError):
            continue
        if len(value) == 16 and any(value):
            return value
    kept = state_dir / "host-id"
    try:
        value = bytes.fromhex(kept.read_text().strip())
        if len(value) == 16:
            return value
    except (OSError, ValueError):
        pass
    state_dir.mkdir(parents=True, exist_ok=True)
    value = secrets.token_bytes(16)
    scratch = kept.with_suffix(f".{os.getpid()}")
    scratch.write_text(value.hex() + "\n")
    scratch.replace(kept)
    return value


def boot_id(root: Path = Path("/")) -> bytes:
    """Return the kernel's 16-byte boot id; zeros where it cannot be read."""
    try:
        text = (root / "proc/sys/kernel/random/boot_id").read_text()
        return uuid.UUID(text.strip()).bytes
    except (OSError, ValueError):
        return bytes(16)
