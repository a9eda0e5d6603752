"""A binding is doubted for exactly those names that stand for nothing on the host."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.binding_doubts import MOST_NAMED, doubts
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind
from chipwatt.core.workload import MAX_CGROUP, Binding, Holding

WHO = bytes(range(16))
CPU, GPU = DeviceId(DeviceKind.CPU, 0), DeviceId(DeviceKind.GPU, 0)
chips = st.sets(
    st.builds(DeviceId, st.sampled_from([DeviceKind.CPU, DeviceKind.GPU]), st.integers(0, 40)),
    max_size=24,
)


def a_tree(root: Path, cgroup: str, *, is_v2: bool) -> Path:
    """Make a cgroup file system as either version has it."""
    if is_v2:
        (root / "cgroup.controllers").write_text("cpu\n")
    file = root / cgroup / "cpu.stat" if is_v2 else root / "cpuacct" / cgroup / "cpuacct.usage"
    file.parent.mkdir(parents=True)
    file.write_text("usage_usec 0\n" if is_v2 else "0\n")
    return root


@given(chips, chips.filter(bool))
def test_each_chip_that_is_not_measured_is_named_once(
    here: set[DeviceId], wanted: set[DeviceId]
) -> None:
    binding = Binding(WHO, devices=tuple(map(Holding, sorted(wanted))))
    told = doubts(binding, here)
    begins = [sentence.partition(";")[0] for sentence in told]
    missing = sorted(wanted - here)
    assert begins == [f"devices: this host measures no {device}" for device in missing]
    named = [str(device) for device in sorted(here)[:MOST_NAMED]] or ["none"]
    for sentence in told:
        assert f"it measures {', '.join(named)}" in sentence
        assert ("more" in sentence) == (len(here) > MOST_NAMED)


def test_while_nobody_has_said_what_is_measured_that_is_the_doubt() -> None:
    (told,) = doubts(Binding(WHO, devices=(Holding(CPU), Holding(GPU))), None)
    assert told.startswith("devices: whether this host has them is not known yet")


@pytest.mark.parametrize("is_v2", [True, False])
def test_a_cgroup_that_is_there_is_not_doubted(tmp_path: Path, *, is_v2: bool) -> None:
    root = a_tree(tmp_path, "a.slice/job", is_v2=is_v2)
    assert doubts(Binding(WHO, cgroup="a.slice/job"), None, root) == []
    (told,) = doubts(Binding(WHO, cgroup="a.slice/jab"), (), root)
    assert told.startswith("cgroup: no such cgroup now: a.slice/jab; ")


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=MAX_CGROUP))
def test_no_name_that_can_be_bound_is_too_much_to_look_for(name: str) -> None:
    try:
        binding = Binding(WHO, cgroup=name)
    except ValueError:
        return
    with tempfile.TemporaryDirectory() as empty:
        assert len(doubts(binding, (), Path(empty))) == 1


def test_a_name_longer_than_files_have_is_only_doubted(tmp_path: Path) -> None:
    assert len(doubts(Binding(WHO, cgroup="x" * MAX_CGROUP), (), tmp_path)) == 1
