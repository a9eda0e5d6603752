from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from chipwatt.agent import bindings as module
from chipwatt.agent.bindings import Bindings, BindingsFull, BindingsNotKept
from chipwatt.core.workload import Binding

BOOT = bytes(range(16))


class Told:
    def __init__(self) -> None:
        self.calls: list[list[Binding]] = []

    @property
    def last(self) -> list[Binding]:
        return self.calls[-1]

    def __call__(self, bindings: Sequence[Binding]) -> None:
        self.calls.append(list(bindings))


def a_binding(number: int, cgroup: str = "job") -> Binding:
    return Binding(number.to_bytes(16), cgroup=cgroup)


def test_bindings_outlive_the_agent_and_not_the_boot(tmp_path: Path) -> None:
    path, told = tmp_path / "workloads.json", Told()
    bindings = Bindings(path, BOOT, told)
    assert not told.calls
    assert not bindings.bind(a_binding(1))
    assert not bindings.bind(a_binding(2))
    assert bindings.bind(a_binding(1, "another"))
    assert bindings.unbind((2).to_bytes(16))
    assert not bindings.unbind((2).to_bytes(16))
    assert told.last == bindings.all() == [a_binding(1, "another")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = Told()
    assert Bindings(path, BOOT, again).all() == again.last == [a_binding(1, "another")]
    assert Bindings(path, bytes(16), Told()).all() == []


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2}', '{"version": 1, "boot_id": 3}'])
def test_a_file_that_is_none_of_ours_binds_nobody(text: str, tmp_path: Path) -> None:
    path = tmp_path / "workloads.json"
    path.write_text(text)
    bindings = Bindings(path, BOOT, Told())
    assert bindings.all() == []
    bindings.bind(a_binding(1))
    assert Bindings(path, BOOT, Told()).all() == [a_binding(1)]


def test_there_is_an_end_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BINDINGS", 2)
    bindings = Bindings(tmp_path / "workloads.json", BOOT, Told())
    for number in (1, 2, 1):
        bindings.bind(a_binding(number))
    with pytest.raises(BindingsFull, match="2 workloads are bound: unbind those that ended"):
        bindings.bind(a_binding(3))


def test_a_disk_that_refuses_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    told = Told()
    bindings = Bindings(folder / "workloads.json", BOOT, told)
    bindings.bind(a_binding(1))
    for name in os.listdir(folder):  # noqa: PTH208
        (folder / name).unlink()
    folder.rmdir()
    with pytest.raises(BindingsNotKept, match="nothing was changed"):
        bindings.bind(a_binding(2))
    assert told.last == bindings.all() == [a_binding(1)]


def test_a_name_that_cannot_be_replaced_leaves_no_scratch_file(tmp_path: Path) -> None:
    path = tmp_path / "workloads.json"
    bindings = Bindings(path, BOOT, Told())
    path.mkdir()
    with pytest.raises(BindingsNotKept, match="nothing was changed"):
        bindings.bind(a_binding(1))
    assert list(tmp_path.iterdir()) == [path]
