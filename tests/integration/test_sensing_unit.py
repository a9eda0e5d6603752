"""A sensing process and an agent that are started apart, as units are: either may die."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chipwatt.agent import sensing_link as link
from chipwatt.agent.sensing_cli import connect
from chipwatt.agent.sensing_config import SensingConfig, own_settings
from chipwatt.cli import main, toml
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.errors import ConfigError
from e2e.programs import PYTHON, Program, alive, no_traceback, until
from fakes.powercap import Player, PowercapTree
from fakes.scenario import steady


class Host:
    """A machine whose two units are started by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "run" / "sensing.sock"
        self.socket.parent.mkdir()
        self.tree = PowercapTree(folder / "machine")
        self.tree.cpuinfo()
        self.tree.zone("intel-rapl:0", "package-0")
        self.config = folder / "agent.toml"
        settings: dict[str, Any] = {
            "collector": "127.0.0.1:1",
            "state_dir": folder / "state",
            "sensing_socket": self.socket,
            "drain_grace": "0s",
            "sensing": {"sources": ["rapl_powercap"], "window": "1s", "batch": "1s"},
            "sources": {
                "rapl_powercap": {"sysfs": self.tree.sysfs, "procfs": self.tree.procfs},
            },
        }
        self.config.write_text(toml.dumps(settings))

    def agent(self) -> Program:
        return Program("chipwatt.agent", self.folder, "agent", "--config", self.config)

    def sensing(self, prefix: Sequence[str] = ()) -> Program:
        return Program("chipwatt.cli", self.folder, "sensing", "sensing", "--config", self.config,
                       "--socket", self.socket, prefix=prefix)  # fmt: skip

    def status(self) -> dict[str, Any]:
        try:
            told: dict[str, Any] = json.loads((self.folder / "state" / "status.json").read_text())
        except (OSError, ValueError):
            return {}
        return told

    def measures(self, agent: Program, sensing: Program) -> None:
        """Return once this agent has windows of this sensing process."""
        until(lambda: self.status().get("pid") == agent.pid, 60, "the agent's status")
        until(lambda: self.status()["sensing"]["pid"] == sensing.pid, 60, "their meeting")
        count = self.status()["sensing"]["payloads"]
        until(lambda: self.status()["sensing"]["payloads"] > count, 60, "windows")
        until(lambda: self.status()["problem"] == "", what="no problem")


CONFINED = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
libc.prctl(65, 1, 0, 0, 0)  # PR_SET_MDWE: nothing becomes executable; older kernels have none
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""What a unit does to a process, as far as anybody may do it to himself."""


@contextmanager
def playing(folder: Path) -> Iterator[Host]:
    host = Host(folder)
    player = Player(dict.fromkeys(host.tree.zones, steady(100_000)))
    player.start(10_000_000)
    try:
        yield host
    finally:
        player.stop()
        host.tree.close()


def test_either_is_killed_and_both_recover(tmp_path: Path) -> None:
    with playing(tmp_path) as host, host.sensing() as first:
        until(lambda: "waiting for the agent" in first.said(), 60, "patience")
        agent = host.agent()
        try:
            host.measures(agent, first)
            assert stat.S_IMODE(host.socket.stat().st_mode) == 0o660
            first.kill()
            until(lambda: not host.status()["sensing"]["alive"], what="its death is noticed")
            assert "nothing is measured" in host.status()["problem"]
            with host.sensing() as second:
                host.measures(agent, second)
                agent.kill()
                assert second.process.wait(30) == 0, "it ends, to be started again"
            assert host.socket.exists(), "a killed agent leaves its socket"
            with host.sensing() as third:
                agent = host.agent()
                host.measures(agent, third)
                assert third.stop() == 0
                until(lambda: not host.status()["sensing"]["alive"])
            assert agent.stop() == 0
            assert not host.socket.exists()
            no_traceback(first.said(), agent.said())
        finally:
            if alive(agent.pid):
                agent.kill()


def test_without_a_network_and_without_executable_memory_it_works(tmp_path: Path) -> None:
    apart = ("unshare", "--user", "--map-current-user", "--net")
    probe = subprocess.run((*apart, "true"), capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"namespaces cannot be made here: {probe.stderr.strip()}")
    prefix = (*apart, PYTHON, "-c", CONFINED)
    with playing(tmp_path) as host, host.agent() as agent, host.sensing(prefix) as sensing:
        host.measures(agent, sensing)
        ours, theirs = (Path(f"/proc/{pid}/ns/net").readlink() for pid in (agent.pid, sensing.pid))
        assert ours != theirs


def test_how_sensors_are_read_is_not_for_the_agent_to_say(tmp_path: Path) -> None:
    """An agent that was taken over cannot make the sensing process look elsewhere."""
    with playing(tmp_path) as host, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(host.socket))
        listener.listen()
        listener.settimeout(60)
        with host.sensing():
            agent, _ = listener.accept()
            with agent:
                agent.settimeout(60)
                told = SensingConfig(sources=("replay",)).to_plain()
                elsewhere = {"replay": {"file": str(tmp_path / "no")}}
                agent.sendall(link.encode(link.Start(told, elsewhere)))
                reader = link.FrameReader()
                messages: list[link.Message] = []
                while not any(isinstance(each, link.Payload) for each in messages):
                    data = agent.recv(1 << 16)
                    assert data, "it did not end"
                    messages += reader.feed(data)


def test_an_agent_that_ends_lets_it_hand_out_what_it_has(tmp_path: Path) -> None:
    with playing(tmp_path) as host, host.agent() as agent, host.sensing() as sensing:
        host.measures(agent, sensing)
        assert agent.stop() == 0
        assert sensing.process.wait(30) == 0
        assert host.status()["ended"]


def test_a_second_agent_does_not_take_the_socket(tmp_path: Path) -> None:
    host = Host(tmp_path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(host.socket))
        other.listen()
        second = host.agent()
        assert second.process.wait(60) == ConfigError.exit_code
        assert f"sensing_socket: {host.socket}: cannot listen there" in second.said()
    host.tree.close()


def test_a_wait_ends_with_the_signal(tmp_path: Path) -> None:
    host = Host(tmp_path)
    with host.sensing() as sensing:
        until(lambda: "waiting for the agent" in sensing.said(), 60)
        os.kill(sensing.pid, signal.SIGTERM)
        assert sensing.process.wait(30) == 0
    host.tree.close()


def test_what_it_reads_for_itself(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(
        'collector = "x:1"\n[sensing]\nwindow = "2s"\n[sources.hwmon]\nignore = ["a"]\n'
    )
    own = own_settings(file)
    assert own.sensing.window == 2 * NS_PER_S
    assert own.sources == {"hwmon": {"ignore": ["a"]}}
    file.write_text("sensing = 1\n")
    with pytest.raises(ConfigError, match="sensing is a table"):
        own_settings(file)
    file.write_text("sources = 1\n")
    with pytest.raises(ConfigError, match="sources is a table"):
        own_settings(file)
    file.write_text("[sensing]\nwndow = 1\n")
    with pytest.raises(ConfigError, match="did you mean 'window'"):
        own_settings(file)


def test_a_file_that_is_not_there_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["sensing", "--socket", "/no/s", "--config", "/no/file"]) == 78
    assert "/no/file: cannot be read" in capsys.readouterr().err


def test_it_is_connected_once_somebody_listens(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with connect(tmp_path / "s") as sock:
            assert sock.getpeername() == str(tmp_path / "s")
