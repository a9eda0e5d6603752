"""What keeps schedulers from binding workloads is said before the agent starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.agent.doctor.finding import State
from chipwatt.agent.doctor.workloads import schedulers
from chipwatt.agent.workload_service import WorkloadsConfig


def test_a_place_that_works_is_told_with_whom_it_is_for(tmp_path: Path) -> None:
    path = tmp_path / "s"
    found = schedulers(WorkloadsConfig(socket=path), path)
    assert (found.state, found.there) == (State.WORKS, [f"{path}, for root and the agent's user"])
    off = schedulers(WorkloadsConfig(enabled=False), path)
    assert (off.state, off.missing) == (State.OFF, [])


def test_a_state_folder_that_is_not_made_yet_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "none" / "s"
    assert schedulers(WorkloadsConfig(), path).state is State.WORKS
    chosen = schedulers(WorkloadsConfig(socket=path), path)
    assert (chosen.state, chosen.missing) == (
        State.BLOCKED, [f"{path.parent}: cannot be used: No such file or directory"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("chosen", "note"),
    [(True, "the agent does not start with this"), (False, "no workload can be bound here")],
)
def test_what_follows_is_told(tmp_path: Path, *, chosen: bool, note: str) -> None:
    path = tmp_path / "s"
    path.write_text("")
    found = schedulers(WorkloadsConfig(socket=path if chosen else None), path)
    assert found.state is State.BLOCKED
    assert "something else is where" in found.missing[0]
    assert note in found.notes[0]
