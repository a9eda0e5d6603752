from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.adapters import cgroups
from chipwatt.adapters.cgroups import NoCgroup

BURSTABLE = "kubepods.slice/kubepods-burstable.slice"
UID = "0a1b2c3d-1111-2222-3333-444455556666"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("lines", "cgroup"),
    [
        ("0::/user.slice/a.scope\n", "user.slice/a.scope"),
        ("4:cpu,cpuacct:/slurm/uid_1/job_2\n1:name=systemd:/x\n0::/y\n", "slurm/uid_1/job_2"),
    ],
)
def test_of_a_process(lines: str, cgroup: str, tmp_path: Path) -> None:
    write(tmp_path / "7" / "cgroup", lines)
    assert cgroups.of_process(7, tmp_path) == cgroup


def test_a_process_without_one_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "7" / "cgroup", "0::/\n")
    with pytest.raises(NoCgroup, match="root cgroup"):
        cgroups.of_process(7, tmp_path)
    with pytest.raises(NoCgroup, match="process 8: its cgroup cannot be read"):
        cgroups.of_process(8, tmp_path)


def test_of_a_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "systemctl"
    write(program, '#!/bin/sh\n[ "$5" = job.slice ] && echo /system.slice/job.slice; true\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert cgroups.of_unit("job.slice") == "system.slice/job.slice"
    with pytest.raises(NoCgroup, match=r"unit gone\.slice: is not running here"):
        cgroups.of_unit("gone.slice")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NoCgroup, match="systemctl cannot be asked"):
        cgroups.of_unit("job.slice")


def test_of_a_slurm_job(tmp_path: Path) -> None:
    assert cgroups.of_slurm_job(12, 1000, tmp_path) == "slurm/uid_1000/job_12"
    (tmp_path / "cpuacct" / "slurm_n1").mkdir(parents=True)
    assert cgroups.of_slurm_job(12, 1000, tmp_path) == "slurm_n1/uid_1000/job_12"
    write(tmp_path / "cgroup.controllers", "cpu\n")
    assert cgroups.of_slurm_job(12, 1000, tmp_path) == "system.slice/slurmstepd.scope/job_12"
    (tmp_path / "system.slice" / "n1_slurmstepd.scope").mkdir(parents=True)
    assert cgroups.of_slurm_job(12, 1000, tmp_path) == "system.slice/n1_slurmstepd.scope/job_12"


@pytest.mark.parametrize(
    "path",
    [
        f"kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice",
        f"kubepods/pod{UID}",
        f"{BURSTABLE}/kubepods-burstable-pod{UID.replace('-', '_')}.slice",
        f"kubepods/besteffort/pod{UID}",
    ],
)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_of_a_pod(path: str, version: str, tmp_path: Path) -> None:
    if version == "v2":
        write(tmp_path / "cgroup.controllers", "cpu\n")
    with pytest.raises(NoCgroup):
        cgroups.of_pod(UID, tmp_path)
    (tmp_path / ("" if version == "v2" else "cpuacct") / path).mkdir(parents=True)
    assert cgroups.of_pod(UID, tmp_path) == path
