"""Who is who: hosts, boots and devices as 128-bit integers, never as tenant text."""

from __future__ import annotations

import os
import secrets
import uuid
from dataclasses import dataclass
from pathlib import Path

from chipwatt.core.model import DeviceKind


@dataclass(frozen=True, slots=True, order=True)
class DeviceId:
    """A physical chip or module.

    ``uid`` is the vendor's 128-bit UUID where there is one, else 0, in which
    case ``ordinal`` (package number, position in PCI order) tells devices of
    one kind apart.
    """

    kind: DeviceKind
    ordinal: int = 0
    uid: int = 0

    def __str__(self) -> str:
        """Return ``cpu/0``, ``module/0`` or ``gpu/GPU-<uuid>``."""
        name = self.kind.name.lower()
        if not self.uid:
            return f"{name}/{self.ordinal}"
        prefix = "GPU-" if self.kind is DeviceKind.GPU else ""
        return f"{name}/{prefix}{uuid.UUID(int=self.uid)}"


def parse_device(text: str) -> DeviceId:
    """Read what ``str(DeviceId)`` wrote; the ordinal of a UUID device comes back as 0.

    Raises ValueError where ``text`` is no device id.
    """
    kind_name, _, rest = text.partition("/")
    try:
        kind = DeviceKind[kind_name.upper()]
    except KeyError:
        raise ValueError(f"{text!r} is no device id: unknown kind {kind_name!r}") from None
    if rest.isdigit():
        return DeviceId(kind, int(rest))
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
        if len(value) == 16:
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
