"""The sensing process as its own process, spoken to as the agent does."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from chipwatt.agent import sensing_link as link
from chipwatt.agent.sensing_config import SensingConfig
from chipwatt.core import codec
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.errors import ConfigError, TraceError
from chipwatt.core.model import AbsentReason, Flag, Interface
from chipwatt.core.records import DeviceWindow, Records
from chipwatt.core.settings import Duration

POWER_W = 50


class Agent:
    """The agent's end of the socket."""

    def __init__(self, sock: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self.sock = sock
        self.process = process
        self.got: list[link.Message] = []
        self._reader = link.FrameReader()
        sock.settimeout(30)

    def say(self, message: link.Message) -> None:
        self.sock.sendall(link.encode(message))

    def listen(self, until: Callable[[], bool] = lambda: False) -> None:
        """Read until ``until`` or the other end closes."""
        while not until():
            data = self.sock.recv(1 << 16)
            if not data:
                return
            self.got += self._reader.feed(data)

    def records(self) -> list[Records]:
        return [
            codec.records_from_tables(codec.decode_tables(message.payload))
            for message in self.got
            if isinstance(message, link.Payload)
        ]

    def windows(self) -> list[DeviceWindow]:
        return [window for records in self.records() for window in records.windows]

    def memory(self) -> link.Memory:
        return [m.memory for m in self.got if isinstance(m, link.Payload)][-1]


@contextmanager
def sensing() -> Iterator[Agent]:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "chipwatt.agent.sensing_process", "--fd", str(theirs.fileno())]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE)
    theirs.close()
    try:
        with ours:
            yield Agent(ours, process)
    finally:
        process.kill()
        process.communicate()


def start(
    tables: Mapping[str, Mapping[str, Any]],
    memory: link.Memory = (),
    enabled: tuple[str, ...] = (),
) -> link.Start:
    second = Duration(NS_PER_S)
    config = SensingConfig(sources=enabled, window=second, batch=second, cpu_budget=1.0)
    return link.Start(config.to_plain(), tables, memory)


def zone(root: Path) -> Path:
    """Make a powercap tree with one package and return its counter file."""
    folder = root / "class" / "powercap" / "intel-rapl:0"
    folder.mkdir(parents=True)
    (folder / "name").write_text("package-0\n")
    (folder / "max_energy_range_uj").write_text("262143328850\n")
    (folder / "energy_uj").write_text("1000000\n")
    return folder / "energy_uj"


class Player:
    """Writes the counter as its chip would, from the test's own thread."""

    def __init__(self, counter: Path) -> None:
        self._counter = counter
        self._began_ns = time.monotonic_ns()
        self._descriptor = counter.open("r+")

    def play(self, seconds: float) -> None:
        end_ns = time.monotonic_ns() + int(seconds * NS_PER_S)
        while (now_ns := time.monotonic_ns()) < end_ns:
            self._write(1_000_000 + POWER_W * (now_ns - self._began_ns) // 1000)
            time.sleep(0.005)

    def _write(self, value_uj: int) -> None:
        # One write of one length: a reader never sees half a number.
        self._descriptor.seek(0)
        self._descriptor.write(f"{value_uj:012d}\n")
        self._descriptor.flush()

    def close(self) -> None:
        self._descriptor.close()


def test_windows_come_up_and_stop_hands_out_what_is_left(tmp_path: Path) -> None:
    player = Player(zone(tmp_path))
    sources = {"rapl_powercap": {"sysfs": str(tmp_path)}}
    with sensing() as agent:
        agent.say(start(sources, enabled=("rapl_powercap",)))
        player.play(3.2)
        agent.say(link.Stop())
        agent.listen()
        assert agent.process.wait(10) == 0
        windows = agent.windows()
        memory = agent.memory()
    player.close()
    assert sum(w.duration_ns for w in windows) > 1.5 * NS_PER_S
    energy_uj = sum(window.energy_uj for window in windows)
    spanned_s = sum(window.duration_ns for window in windows) / NS_PER_S
    assert abs(energy_uj / spanned_s / 1e6 - POWER_W) < 0.1 * POWER_W
    assert windows[-1].cumulative_uj - windows[0].cumulative_uj + windows[0].energy_uj == energy_uj
    assert memory[0]["cumulative_uj"] == windows[-1].cumulative_uj
    assert not any(isinstance(message, link.Done) for message in agent.got)
    status = [status for records in agent.records() for status in records.sensors]
    assert status[-1].interface is Interface.RAPL_POWERCAP
    absent = {a.interface: a.reason for records in agent.records() for a in records.absent}
    assert absent[Interface.NVML] is AbsentReason.DISABLED


def test_a_restart_goes_on_in_the_same_epoch_without_a_hole(tmp_path: Path) -> None:
    player = Player(zone(tmp_path))
    sources = {"rapl_powercap": {"sysfs": str(tmp_path)}}
    with sensing() as agent:
        agent.say(start(sources, enabled=("rapl_powercap",)))
        player.play(2.5)
        agent.process.kill()
        agent.listen()
        first, memory = agent.windows(), agent.memory()
    with sensing() as agent:
        agent.say(start(sources, memory, enabled=("rapl_powercap",)))
        player.play(2.5)
        agent.say(link.Stop())
        agent.listen()
        second = agent.windows()
    player.close()
    assert {window.epoch for window in first} == {window.epoch for window in second}
    assert any(window.flags & Flag.RESUMED for window in second)
    total_uj = sum(window.energy_uj for window in [*first, *second])
    assert total_uj == second[-1].cumulative_uj - first[0].cumulative_uj + first[0].energy_uj


def test_a_replay_at_full_speed_ends_with_done(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    began_unix_ns = 1_750_000_000 * NS_PER_S
    rows = [f"{began_unix_ns + n * NS_PER_S},gpu/0,{100_000 + n % 7}" for n in range(600)]
    trace.write_text("\n".join(["unix_ns,device,power_mw", *rows]) + "\n")
    began = time.monotonic()
    with sensing() as agent:
        agent.say(start({"replay": {"file": str(trace), "speed": "max"}}))
        agent.listen()
        assert agent.process.wait(10) == 0, agent.process.stderr
        windows = agent.windows()
    assert isinstance(agent.got[-1], link.Done)
    assert time.monotonic() - began < 20, "ten minutes of trace in seconds"
    truth_uj = sum(200_000 + n % 7 + (n + 1) % 7 for n in range(599)) * 1000 // 2
    assert sum(window.energy_uj for window in windows) == truth_uj
    assert all(window.flags & Flag.REPLAYED for window in windows)


def test_sigterm_ends_it_as_stop_does(tmp_path: Path) -> None:
    player = Player(zone(tmp_path))
    with sensing() as agent:
        agent.say(start({"rapl_powercap": {"sysfs": str(tmp_path)}}, enabled=("rapl_powercap",)))
        player.play(2.2)
        agent.process.send_signal(signal.SIGTERM)
        agent.listen()
        assert agent.process.wait(10) == 0
        assert agent.windows()
    player.close()


def test_it_ends_when_the_agent_is_gone_before_and_after_start(tmp_path: Path) -> None:
    with sensing() as agent:
        agent.sock.close()
        assert agent.process.wait(20) == 0
    zone(tmp_path)
    with sensing() as agent:
        agent.say(start({"rapl_powercap": {"sysfs": str(tmp_path)}}, enabled=("rapl_powercap",)))
        agent.listen(until=lambda: bool(agent.got))
        agent.sock.close()
        assert agent.process.wait(20) == 0


def test_what_cannot_be_is_refused_in_one_sentence(tmp_path: Path) -> None:
    cases: list[tuple[Mapping[str, Any], int, str]] = [
        ({"nvidia": {}}, 78, "no source is called 'nvidia'"),
        ({"replay": {"file": str(tmp_path / "none.csv")}}, 65, "none.csv"),
    ]
    for sources, status, says in cases:
        with sensing() as agent:
            agent.say(start(sources))
            _, stderr = agent.process.communicate(timeout=20)
            assert agent.process.returncode == status
            assert says in stderr.decode()
            assert "Traceback" not in stderr.decode()


def test_a_fault_that_no_setting_mends_has_not_the_status_of_one_that_it_does() -> None:
    with sensing() as agent:
        agent.sock.sendall(b"\xff" * 64)
        _, stderr = agent.process.communicate(timeout=20)
        assert agent.process.returncode not in (0, ConfigError.exit_code, TraceError.exit_code)
        assert b"Traceback" not in stderr


def test_it_loads_no_network_code() -> None:
    program = (
        "import sys, chipwatt.agent.sensing_process; from chipwatt.agent.sensing import registry; "
        "registry.load(); sys.exit('grpc' in sys.modules or 'asyncio' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_second_agent_on_the_same_sensors_is_refused(tmp_path: Path) -> None:
    player = Player(zone(tmp_path / "one"))
    other = Player(zone(tmp_path / "two"))
    enabled = ("rapl_powercap",)
    first = start({"rapl_powercap": {"sysfs": str(tmp_path / "one")}}, enabled=enabled)
    first = replace(first, state_dir="/var/lib/first")
    elsewhere = start({"rapl_powercap": {"sysfs": str(tmp_path / "two")}}, enabled=enabled)
    with sensing() as agent, sensing() as second, sensing() as third:
        agent.say(first)
        player.play(2.0)
        second.say(replace(first, state_dir="/var/lib/second"))
        third.say(elsewhere)
        other.play(0.5)
        _, said = second.process.communicate(timeout=60)
        assert second.process.returncode == ConfigError.exit_code
        assert f"by process {agent.process.pid} already (state folder /var/lib/first)" in str(said)
        for each in (agent, third):
            each.say(link.Stop())
            each.listen()
            assert each.process.wait(20) == 0
    player.close()
    other.close()
