"""Lets a group use a socket, without a privilege where the folder hands its own group down.

What is made in a setgid folder has the folder's group at once. Under the shipped unit
nothing could be given to it later: no capability, a filter that forbids chown, and a user
namespace in which other groups have no number.
"""

from __future__ import annotations

import grp
import os
from pathlib import Path

from chipwatt.core.errors import ConfigError

MODE = 0o660
_MAP, _UNMAPPED = Path("/proc/self/gid_map"), Path("/proc/sys/kernel/overflowgid")


def open_to(path: Path, group: str) -> None:
    """Let the members of ``group`` connect to the socket at ``path``.

    Raises ConfigError that says what to do. In a user namespace that does not know the
    group, a folder of another unknown group cannot be told from its own; it takes root to
    make either.
    """
    gid = number_of(group)
    try:
        if path.stat().st_gid != _as_seen(gid):
            os.chown(path, -1, gid)
        path.chmod(MODE)
    except OSError as error:
        raise ConfigError(
            f"workloads.group: {path} cannot be given to {group}: {error.strerror}; set "
            f"workloads.socket to a path in a folder of that group with mode 2750 "
            "(chipwatt.tmpfiles makes one)"
        ) from None


def number_of(group: str) -> int:
    """Return a group's number. Raises ConfigError where this host has none of that name."""
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigError(
            f"workloads.group: this host has no group {group!r}: make it, or name another"
        ) from None


def _as_seen(gid: int) -> int:
    """Return the number that files of a group show in this user namespace."""
    for line in _MAP.read_text().splitlines():
        first, _, count = map(int, line.split())
        if first <= gid < first + count:
            return gid
    return int(_UNMAPPED.read_text())
