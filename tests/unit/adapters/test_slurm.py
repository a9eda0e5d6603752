"""What Slurm is told, and that it is told through a real program."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.adapters import slurm
from chipwatt.adapters.slurm import Pusher, ScontrolFailed, Standing, commands, standings
from chipwatt.client import Demand, HeadroomInfo, InlineProfile, PlacementClient, Provenance
from fakes.placement_server import PlacementServer, placement_server

W = 1_000
TRUST = Provenance(0, 0, 1_000_000, "CONFORMAL", ())
SCONTROL = """\
#!/usr/bin/env python3
import json, os, sys
if os.path.exists(os.environ["SCONTROL_SAYS_NO"]):
    sys.exit("slurm_update error: Invalid node name specified")
with open(os.environ["SCONTROL_LOG"], "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
"""


class Scontrol:
    def __init__(self, folder: Path) -> None:
        self.log, self.says_no = folder / "log", folder / "no"

    def calls(self) -> list[list[str]]:
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scontrol:
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(SCONTROL)
    program.chmod(0o755)
    made = Scontrol(tmp_path)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SCONTROL_LOG", str(made.log))
    monkeypatch.setenv("SCONTROL_SAYS_NO", str(made.says_no))
    return made


@pytest.fixture
def server() -> Iterator[PlacementServer]:
    with placement_server(PlacementServer(("n1", "n2", "n[3-4]"), 10_000 * W)) as one:
        yield one


@pytest.fixture
def client(server: PlacementServer) -> Iterator[PlacementClient]:
    with PlacementClient(server.address) as one:
        yield one


def left(name: str, headroom_mw: int | None, budget_mw: int, binding: str = "") -> HeadroomInfo:
    return HeadroomInfo(name, 0, 0, 0, 0, budget_mw, headroom_mw, binding or name, TRUST)


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**9), st.integers(1, 10**6))
def test_less_room_is_a_higher_weight_and_steps_are_whole(
    headroom_mw: int, less_mw: int, step_mw: int
) -> None:
    def of(left_mw: int) -> Standing:
        rack = left("r", 0, 10**9)
        return standings(["h"], {"h": left("h", left_mw, 0, "r"), "r": rack}, step_mw)["h"]

    more, fewer = of(headroom_mw), of(headroom_mw - less_mw)
    assert 1 <= more.weight <= fewer.weight <= 65_001
    assert 0 <= fewer.headroom_w <= more.headroom_w
    assert more.headroom_w * W <= max(0, headroom_mw)


def test_all_left_nothing_left_and_no_limit() -> None:
    rack = {"r": left("r", 0, 40_000 * W)}
    hosts = {
        "full": left("full", 0, 0, "r"),
        "empty": left("empty", 40_000 * W, 0, "r"),
        "free": left("free", None, 0),
    }
    assert standings(hosts, {**rack, **hosts}, 100 * W) == {
        "full": Standing(1001, 0),
        "empty": Standing(1, 40_000),
        "free": Standing(1, 1_000_000_000),
    }


def test_nodes_with_the_same_standing_go_together_in_bounded_calls() -> None:
    moved = {f"n{n}": Standing(7, 900) for n in range(501)} | {"x": Standing(3, 1)}
    first, second, third = commands(moved)
    assert first == ["scontrol", "update", "NodeName=x", "Weight=3", 'Extra={"headroom_w":1}']
    assert second[2].count(",") == 499
    assert third[2:4] == ["NodeName=n500", "Weight=7"]


def test_only_what_moved_is_told_again(
    client: PlacementClient, scontrol: Scontrol, caplog: pytest.LogCaptureFixture
) -> None:
    pusher = Pusher(client, 100 * W)
    pusher.push(pusher.moved())
    told = ["update", "NodeName=n1,n2", "Weight=1", 'Extra={"headroom_w":10000}']
    assert scontrol.calls() == [told]
    assert pusher.moved() == {}
    client.reserve("u", "n1", Demand(inline=InlineProfile(1, 2_550 * W)), ttl_s=60)
    pusher.push(pusher.moved())
    assert scontrol.calls()[1:] == [
        ["update", "NodeName=n1,n2", "Weight=256", 'Extra={"headroom_w":7400}']
    ]
    # Slurm would read n3 and n4 out of it.
    assert [record.message for record in caplog.records] == ["not a name for Slurm, left out"]


def test_what_slurm_refuses_is_told_again(client: PlacementClient, scontrol: Scontrol) -> None:
    pusher = Pusher(client, 100 * W)
    scontrol.says_no.touch()
    with pytest.raises(ScontrolFailed, match="scontrol: slurm_update error: Invalid node name"):
        pusher.push(pusher.moved())
    scontrol.says_no.unlink()
    pusher.push(pusher.moved())
    assert len(scontrol.calls()) == 1


def test_without_scontrol(client: PlacementClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    pusher = Pusher(client, 100 * W)
    with pytest.raises(ScontrolFailed, match="scontrol is not on the PATH"):
        pusher.push(pusher.moved())


def test_a_fault_does_not_end_the_daemon(
    client: PlacementClient, scontrol: Scontrol, caplog: pytest.LogCaptureFixture
) -> None:
    class Twice(threading.Event):
        """Lets two rounds pass without waiting."""

        rounds = 0

        def wait(self, timeout: float | None = None) -> bool:
            assert timeout == 60
            scontrol.says_no.unlink(missing_ok=True)
            self.rounds += 1
            if self.rounds == 2:
                self.set()
            return self.is_set()

    scontrol.says_no.touch()
    slurm.push_every(Pusher(client, 100 * W), 60, Twice())
    assert len(scontrol.calls()) == 1
    assert "Slurm was not told everything" in [record.message for record in caplog.records]
