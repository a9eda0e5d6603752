"""Where a process, a systemd unit, a Slurm job or a pod is below the cgroup file system."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from chipwatt.core.errors import ChipwattError

ROOT = Path("/sys/fs/cgroup")
_CPU_TIME = "cpuacct"
_TIMEOUT_S = 10.0


class NoCgroup(ChipwattError):
    """What was named has no cgroup on this host."""


def of_process(pid: int, proc: Path = Path("/proc")) -> str:
    """Return the cgroup of a process. Raises NoCgroup."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError as error:
        raise NoCgroup(f"process {pid}: its cgroup cannot be read: {error.strerror}") from None
    by_controller = {
        name: path
        for _, names, path in (line.split(":", 2) for line in lines)
        for name in names.split(",")
    }
    path = by_controller.get(_CPU_TIME, by_controller.get("", ""))
    if not path.strip("/"):
        raise NoCgroup(f"process {pid}: runs in the root cgroup, with all others")
    return path.strip("/")


def of_unit(unit: str) -> str:
    """Return the cgroup of a running systemd unit (service, scope or slice). Raises NoCgroup."""
    command = ["systemctl", "show", "--property=ControlGroup", "--value", "--", unit]
    try:
        done = subprocess.run(  # noqa: S603 - a list, and -- before what is not ours
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoCgroup(f"unit {unit}: systemctl cannot be asked: {error}") from None
    path = done.stdout.strip().strip("/")
    if done.returncode or not path:
        raise NoCgroup(f"unit {unit}: is not running here")
    return path


def of_slurm_job(job: int, uid: int, root: Path = ROOT) -> str:
    """Return the cgroup of a Slurm job, which may be made later. Raises NoCgroup."""
    if (root / "cgroup.controllers").exists():
        scopes = [scope.name for scope in sorted((root / "system.slice").glob("*slurmstepd.scope"))]
        scope = scopes[0] if scopes else "slurmstepd.scope"
        return f"system.slice/{scope}/job_{job}"
    tops = [top.name for top in sorted((root / _CPU_TIME).glob("slurm*"))]
    return f"{tops[0] if tops else 'slurm'}/uid_{uid}/job_{job}"


def of_pod(uid: str, root: Path = ROOT) -> str:
    """Return the cgroup of a pod of either of the kubelet's cgroup drivers. Raises NoCgroup."""
    base = root if (root / "cgroup.controllers").exists() else root / _CPU_TIME
    for path in _pod_paths(uid):
        if (base / path).is_dir():
            return path
    raise NoCgroup("a pod has no cgroup here yet")


def _pod_paths(uid: str) -> Iterable[str]:
    escaped = uid.replace("-", "_")
    yield f"kubepods.slice/kubepods-pod{escaped}.slice"
    yield f"kubepods/pod{uid}"
    for quality in ("burstable", "besteffort"):
        parent = f"kubepods-{quality}"
        yield f"kubepods.slice/{parent}.slice/{parent}-pod{escaped}.slice"
        yield f"kubepods/{quality}/pod{uid}"
