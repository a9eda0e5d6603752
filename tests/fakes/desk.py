"""Runs one placement command against a placement service on a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from chipwatt.cli import main
from fakes.placement_server import PlacementServer, placement_server


@dataclass
class Desk:
    """Somebody at a terminal."""

    server: PlacementServer
    capsys: pytest.CaptureFixture[str]

    def run(self, *args: object) -> tuple[int, str]:
        """Return the exit code and what was printed, complaints included."""
        self.capsys.readouterr()
        code = main.run([*map(str, args), "--collector", self.server.address])
        said = self.capsys.readouterr()
        assert "Traceback" not in said.err
        assert not said.err or len(said.err.splitlines()) == 1
        return code, said.out + said.err


@pytest.fixture
def desk(capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    """Give a terminal and, at the other end, a rack with two hosts and 10 kW."""
    with placement_server(PlacementServer()) as server:
        yield Desk(server, capsys)
