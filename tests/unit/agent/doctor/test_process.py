from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.doctor.process import (
    File,
    Process,
    read_container,
    read_file,
    read_process,
)
from fakes.machine import FakeMachine


def test_status_is_read(tmp_path: Path) -> None:
    machine = FakeMachine(tmp_path)
    machine.user(uid=998, groups=(44, 109), capabilities=1 << 38 | 1 << 2 | 1 << 5, seccomp=2)
    process = read_process(tmp_path / "proc")
    assert process.uid == 998
    assert process.groups == {998, 44, 109}
    assert process.capabilities == {"CAP_PERFMON", "CAP_DAC_READ_SEARCH"}
    assert process.filtered
    assert not process.user_namespace


def test_our_own_status_is_ours() -> None:
    process = read_process(Path("/proc"))
    assert process.uid == os.geteuid()
    _, most = resource.getrlimit(resource.RLIMIT_RTPRIO)
    assert process.real_time_limit == (99 if most == resource.RLIM_INFINITY else most)
    assert set(os.getgroups()) <= process.groups


@pytest.mark.parametrize("text", ["", "CapEff:\tnonsense\nUid:\n", "\x00\xff"])
def test_a_status_that_says_nothing_grants_nothing(tmp_path: Path, text: str) -> None:
    FakeMachine(tmp_path).write("proc/self/status", text)
    process = read_process(tmp_path / "proc")
    assert process.capabilities == frozenset()
    assert not process.may(File(Path("x"), 0o600, 0, 0))


@given(
    mode=st.integers(0, 0o777),
    owner=st.sampled_from([0, 1000]),
    group=st.sampled_from([0, 44]),
    write=st.booleans(),
)
def test_the_kernels_rule_of_permission(mode: int, owner: int, group: int, write: bool) -> None:
    """Exactly one of the three triples decides: the owner's, else the group's, else the rest."""
    process = Process(uid=1000, groups=frozenset({44}))
    triple = mode >> 6 if owner == 1000 else mode >> 3 if group == 44 else mode
    wanted = 0o6 if write else 0o4
    expected = triple & 0o7 & wanted == wanted
    assert process.may(File(Path("x"), mode, owner, group), write=write) is expected


def test_capabilities_override_but_not_out_of_a_namespace() -> None:
    closed = File(Path("x"), 0o000, 0, 0)
    search = Process(uid=1, capabilities=frozenset({"CAP_DAC_READ_SEARCH"}))
    assert search.may(closed)
    assert not search.may(closed, write=True)
    override = Process(uid=1, capabilities=frozenset({"CAP_DAC_OVERRIDE"}))
    assert override.may(closed, write=True)
    inside = Process(0, capabilities=frozenset({"CAP_DAC_OVERRIDE"}), user_namespace=True)
    assert not inside.may(File(Path("x"), 0o400, 65534, 65534))


def test_a_mapped_range_is_a_namespace(tmp_path: Path) -> None:
    FakeMachine(tmp_path).write("proc/self/uid_map", "0 100000 65536\n")
    assert read_process(tmp_path / "proc").user_namespace


def test_a_files_owner_and_mode(tmp_path: Path) -> None:
    path = FakeMachine(tmp_path).node("kfd", 0o660)
    file = read_file(path)
    assert file == File(path, 0o660, os.geteuid(), path.stat().st_gid)
    assert str(file) == f"{path} (0660 {file.uid}:{file.gid})"
    assert read_file(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("path", "text", "kind"),
    [
        (".dockerenv", "", "docker"),
        ("run/.containerenv", "", "podman"),
        ("run/secrets/kubernetes.io/x", "", "kubernetes"),
        ("proc/1/cgroup", "0::/kubepods.slice/pod1\n", "kubernetes"),
        ("proc/1/cgroup", "4:x:/docker/abc\n", "docker"),
        ("run/systemd/container", "lxc\n", "lxc"),
        ("proc/1/cgroup", "0::/init.scope\n", ""),
    ],
)
def test_marks_of_containers(tmp_path: Path, path: str, text: str, kind: str) -> None:
    FakeMachine(tmp_path).write(path, text)
    assert read_container(tmp_path, tmp_path / "proc").kind == kind


def test_what_a_runtime_masks(tmp_path: Path) -> None:
    mounts = (
        "30 23 0:26 / /sys ro - sysfs sysfs ro\n"
        "41 30 0:52 / /sys/devices/virtual/powercap ro - tmpfs tmpfs ro\n"
        "short\n"
    )
    FakeMachine(tmp_path).write("proc/self/mountinfo", mounts)
    masked = read_container(tmp_path, tmp_path / "proc").masked
    assert masked == ("/sys/devices/virtual/powercap",)
