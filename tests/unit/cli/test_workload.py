"""Which socket ``chipwatt workload`` talks to where none is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.cli import workload


@pytest.fixture
def sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    found = [tmp_path / "run" / "workload.sock", tmp_path / "state" / "workload.sock"]
    monkeypatch.setattr(workload, "_OF_UNIT", tuple(found))
    monkeypatch.delenv(workload.SOCKET_VARIABLE, raising=False)
    return found


def test_the_groups_socket_comes_before_that_in_the_state_directory(sockets: list[Path]) -> None:
    neither = workload._default_socket()
    assert neither not in sockets
    for made in reversed(sockets):
        made.parent.mkdir()
        made.touch()
        assert workload._default_socket() == made


def test_a_variable_wins(sockets: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    sockets[0].parent.mkdir()
    sockets[0].touch()
    monkeypatch.setenv(workload.SOCKET_VARIABLE, "/elsewhere/s")
    assert workload._default_socket() == Path("/elsewhere/s")
