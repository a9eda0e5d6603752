"""Who this process is to the kernel: ids, capabilities, namespaces, container.

Facts from ``/proc/self`` (proc(5), capabilities(7)). Nothing here raises: what
cannot be read counts as not granted.
"""

from __future__ import annotations

import contextlib
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from chipwatt.agent.sensing.sysfs import read_text

_CAPABILITIES = {
    1: "CAP_DAC_OVERRIDE",
    2: "CAP_DAC_READ_SEARCH",
    17: "CAP_SYS_RAWIO",
    21: "CAP_SYS_ADMIN",
    23: "CAP_SYS_NICE",
    38: "CAP_PERFMON",
}  # include/uapi/linux/capability.h
_WHOLE_RANGE = ["0", "0", "4294967295"]
_CGROUP_OF = (("kubepods", "kubernetes"), ("docker", "docker"), ("libpod", "podman"))


@dataclass(frozen=True, slots=True)
class File:
    """A file's owner and permission bits."""

    path: Path
    mode: int
    """Permission bits alone: 0o400."""
    uid: int
    gid: int

    def __str__(self) -> str:
        """Return ``/dev/kfd (0660 0:44)``."""
        return f"{self.path} ({self.mode:04o} {self.uid}:{self.gid})"


@dataclass(frozen=True, slots=True)
class Process:
    """What the kernel checks this process by."""

    uid: int = 65534
    groups: frozenset[int] = frozenset()
    """Effective group and supplementary groups."""
    capabilities: frozenset[str] = frozenset()
    """Effective ones, of those that open a power interface or raise the priority."""
    real_time_limit: int = 0
    """Highest real-time priority that this process may give itself (hard RLIMIT_RTPRIO)."""
    filtered: bool = False
    """Whether a seccomp filter is in force, as container runtimes set one."""
    user_namespace: bool = False
    """Whether ids are mapped: root and capabilities in here mean nothing for files of the host."""

    def may(self, file: File, *, write: bool = False) -> bool:
        """Return whether the permission bits and capabilities let this process open ``file``."""
        wanted = 0o6 if write else 0o4
        override = {"CAP_DAC_OVERRIDE"} if write else {"CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"}
        if override & self.capabilities and not self.user_namespace:
            return True
        shift = 6 if file.uid == self.uid else 3 if file.gid in self.groups else 0
        return (file.mode >> shift) & wanted == wanted

    def __str__(self) -> str:
        """Return the process in words."""
        held = ", ".join(sorted(self.capabilities)) or "no capability that matters here"
        return f"uid {self.uid} with {held}"


@dataclass(frozen=True, slots=True)
class Container:
    """What surrounds this process, where it is no plain host."""

    kind: str = ""
    """``docker``, ``podman``, ``kubernetes``, another runtime's own name; empty on a host."""
    masked: tuple[str, ...] = ()
    """Mount points that hide parts of sysfs that power is read from."""


def read_file(path: Path) -> File | None:
    """Return owner and mode of ``path``; None where it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return File(path, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)


def read_process(procfs: Path) -> Process:
    """Return what ``self/status`` and ``self/uid_map`` say."""
    fields = {
        key: rest.split()
        for line in (read_text(procfs / "self/status") or "").splitlines()
        for key, separator, rest in [line.partition(":")]
        if separator
    }
    effective = 0
    with contextlib.suppress(ValueError, IndexError):
        effective = int(fields.get("CapEff", ["0"])[0], 16)
    groups = {*fields.get("Gid", [])[1:2], *fields.get("Groups", [])}
    uid = [*fields.get("Uid", []), "", ""][1]
    mapping = (read_text(procfs / "self/uid_map") or "").split()
    limits = read_text(procfs / "self/limits") or ""
    real_time = re.search(r"^Max realtime priority +\S+ +(\d+|unlimited)", limits, re.MULTILINE)
    return Process(
        real_time_limit=int(real_time[1].replace("unlimited", "99")) if real_time else 0,
        uid=int(uid) if uid.isdigit() else 65534,
        groups=frozenset(int(group) for group in groups if group.isdigit()),
        capabilities=frozenset(name for bit, name in _CAPABILITIES.items() if effective >> bit & 1),
        filtered=fields.get("Seccomp") == ["2"],
        user_namespace=bool(mapping) and mapping != _WHOLE_RANGE,
    )


def read_container(root: Path, procfs: Path) -> Container:
    """Return which container runtime left its marks, and what it masks."""
    mounts = (line.split() for line in (read_text(procfs / "self/mountinfo") or "").splitlines())
    points = [fields[4] for fields in mounts if len(fields) > 4]
    masked = tuple(p for p in points if re.search(r"/powercap(/|$)|/hwmon(/|$)", p))
    return Container(_runtime(root, procfs), masked)


def _runtime(root: Path, procfs: Path) -> str:
    secrets = ("run/secrets/kubernetes.io", "var/run/secrets/kubernetes.io")
    if any((root / path).is_dir() for path in secrets):
        return "kubernetes"
    if (root / ".dockerenv").exists():
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    cgroup = read_text(procfs / "1/cgroup") or ""
    named = [kind for mark, kind in _CGROUP_OF if mark in cgroup]
    return named[0] if named else read_text(root / "run/systemd/container") or ""
