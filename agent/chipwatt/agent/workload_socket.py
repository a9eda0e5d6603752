"""Where the socket for schedulers may be: what could never work, and what would not be safe."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from chipwatt.agent.socket_group import number_of
from chipwatt.core.errors import ConfigError

_MAX_PATH_BYTES = 107
"""Of a Unix socket, by the kernel."""


def check_place(path: Path, group: str) -> None:
    """Raise ConfigError where no socket for ``group`` (empty: none) can be made, whoever tries."""
    if len(os.fsencode(path.absolute())) > _MAX_PATH_BYTES:
        raise ConfigError(f"{path}: too long for a socket: set workloads.socket to a shorter path")
    try:
        if not stat.S_ISDIR(path.parent.stat().st_mode):
            raise ConfigError(f"{path.parent}: no folder: set workloads.socket to a path in one")
    except OSError as error:
        raise ConfigError(f"{path.parent}: cannot be used: {error.strerror}") from None
    try:
        in_the_way = not stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        in_the_way = False
    except OSError as error:
        raise ConfigError(f"{path}: cannot be used: {error.strerror}") from None
    if in_the_way:
        raise ConfigError(
            f"{path}: something else is where the socket for schedulers is to be: move it away, "
            "or set workloads.socket to another path"
        )
    if group:
        number_of(group)


def check_folder(folder: Path) -> None:
    """Raise ConfigError where others than this user and root may put a socket of their own."""
    found = folder.stat()
    others = stat.S_IWOTH if found.st_gid == os.getegid() else stat.S_IWGRP | stat.S_IWOTH
    if found.st_uid not in {os.geteuid(), 0} or found.st_mode & others:
        raise ConfigError(
            f"{folder}: others may write there, so anybody could stand in for this socket: "
            "chmod go-w it, or set workloads.socket"
        )
