"""From the spool to a collector's disk, through kills of either side."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chipwatt.agent.channel import TlsConfig
from chipwatt.agent.endpoints import Endpoints
from chipwatt.agent.spool.spool import Spool
from chipwatt.agent.spool.threaded import ThreadedSpool
from chipwatt.agent.uplink import Host, Uplink
from chipwatt.agent.uplink_config import UplinkConfig
from chipwatt.client import CollectorClient
from chipwatt.core import codec
from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.records import DeviceWindow, Records
from chipwatt.core.settings import Duration
from fakes.collector_process import collector
from fakes.telemetry_records import T0_S, a_window
from fakes.telemetry_server import Behaviour, TelemetryServer

BOOT = bytes(range(16))
HOST_ID = bytes([7]) * 16
QUICK = UplinkConfig(retry_least=Duration(5 * NS_PER_MS), retry_most=Duration(50 * NS_PER_MS))
FAST_SENSING = "[sensing]\nsources = ['estimate']\nwindow = '1s'\nbatch = '1s'\n"


class Agent:
    """The agent as an operator starts it, on this machine's estimated power."""

    def __init__(self, directory: Path, address: str, *options: str) -> None:
        self.state_dir = directory / "agent"
        self.log = directory / "agent.log"
        config = directory / "agent.toml"
        config.write_text(f"{FAST_SENSING}[uplink]\nretry_least = '10ms'\nretry_most = '100ms'\n")
        arguments = ["--config", str(config), "--collector", address]
        arguments += ["--state-dir", str(self.state_dir)]
        with self.log.open("a") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "chipwatt.agent", *arguments, *options],
                stdout=output,
                stderr=output,
            )

    def status(self) -> dict[str, Any]:
        """Return what the running agent says of itself; empty before it says anything."""
        try:
            status: dict[str, Any] = json.loads((self.state_dir / "status.json").read_text())
        except FileNotFoundError:
            return {}
        return status if status["pid"] == self.process.pid else {}

    def wait_for(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline_s = time.monotonic() + 30
        while not ((status := self.status()) and condition(status)):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline_s, (status, self.log.read_text())
            time.sleep(0.05)
        return status

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


@contextmanager
def agent(directory: Path, address: str, *options: str) -> Iterator[Agent]:
    one = Agent(directory, address, *options)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait(20)


def windows_of(payloads: list[bytes]) -> list[DeviceWindow]:
    return [
        window
        for payload in payloads
        for window in codec.records_from_tables(codec.decode_tables(payload)).windows
    ]


def assert_conserved(windows: list[DeviceWindow]) -> None:
    """I3: per device, domain and epoch the deltas add up to what the counter moved."""
    series = defaultdict(list)
    for window in windows:
        series[(window.device, window.domain, window.epoch)].append(window)
    assert series
    for of_epoch in series.values():
        of_epoch.sort(key=lambda window: window.start_mono_ns)
        cumulative_uj = of_epoch[0].cumulative_uj - of_epoch[0].energy_uj
        for window in of_epoch:
            cumulative_uj += window.energy_uj
            assert window.cumulative_uj == cumulative_uj


def payloads(count: int) -> list[bytes]:
    cumulative_uj, made = 0, []
    for index in range(count):
        cumulative_uj += 1000 + index
        window = a_window(T0_S + index * 10, 1000 + index, cumulative_uj=cumulative_uj)
        made.append(codec.encode_records(Records(windows=(window,))))
    return made


def test_a_collector_killed_under_load_has_everything_once(tmp_path: Path) -> None:
    """Rows 5 and 12: kills around the commit, records sent again; nothing lost, nothing twice."""
    sent = payloads(1500)

    async def test() -> None:
        spool = ThreadedSpool(Spool(tmp_path / "spool", BOOT))
        await spool.append([(payload, b"") for payload in sent])
        address = ""
        uplink: Uplink | None = None
        running: asyncio.Task[None] | None = None
        for life in range(4):
            with collector(tmp_path, listen=address or "127.0.0.1:0") as alive:
                if uplink is None:
                    address = alive.address
                    host = Host(HOST_ID, BOOT, 1)
                    uplink = Uplink(Endpoints([address]), QUICK, TlsConfig(), host, spool)
                    running = asyncio.create_task(uplink.run())
                wanted = len(sent) if life == 3 else 300 * (life + 1)
                while len(sent) - spool.counts.unacked < wanted:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
                if life < 3:
                    alive.kill()
                    continue
                with CollectorClient(address) as client:
                    found = list(client.windows(HOST_ID.hex()))
                assert [w.energy_uj for w in found] == [1000 + n for n in range(len(sent))]
                assert_conserved(found)
        assert uplink is not None
        assert running is not None
        assert uplink.state.streams == 4
        assert uplink.state.refused == 0
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await spool.close()

    asyncio.run(test())


def test_a_killed_agent_goes_on_where_its_disk_ends(tmp_path: Path) -> None:
    """Row 1: SIGKILL while the collector is away, then a start that finds it."""

    with agent(tmp_path, "127.0.0.1:1") as first:
        before = first.wait_for(lambda s: s["spool"]["records"] >= 3)
        assert "no collector answers" in before["uplink"]["last_error"]
        first.process.kill()
        first.process.wait(20)

    async def test() -> TelemetryServer:
        server = TelemetryServer()
        await server.start()
        server.behaviour = Behaviour(close_after=4)  # acks are lost now and then
        with agent(tmp_path, server.address) as second:
            async with asyncio.timeout(30):
                await server.wait_for(before["spool"]["records"] + 3)
            second.process.terminate()
            code = await asyncio.to_thread(second.process.wait, 20)
            assert code == 0
            final = second.status()
            assert final["ended"] is True
            assert final["spool"]["unacked"] == 0
        await server.stop()
        return server

    server = asyncio.run(test())
    assert server.conflicts == []
    sequences = sorted(sequence for _, _, sequence in server.stored)
    assert sequences == list(range(1, len(sequences) + 1))
    assert len({epoch for _, epoch, _ in server.stored}) == 1
    assert_conserved(windows_of([server.stored[key] for key in sorted(server.stored)]))


def test_agent_and_collector_as_they_are_installed(tmp_path: Path) -> None:
    with collector(tmp_path) as running, agent(tmp_path, running.address) as one:
        status = one.wait_for(lambda s: s["uplink"]["acked"] >= 4)
        assert status["uplink"]["connected"]
        assert status["cost"]["agent"]["memory_bytes"] > 0
        assert status["cost"]["sensing"]["cpu_ms"] > 0
        assert one.end(signal.SIGTERM) == 0
        final = one.status()
        assert final["ended"] is True
        assert final["spool"]["unacked"] == 0
        with CollectorClient(running.address) as client:
            (host,) = client.hosts()
            stored = list(client.windows(host.host_id))
    assert_conserved(stored)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_agent_at_once(tmp_path: Path, number: signal.Signals) -> None:
    with agent(tmp_path, "127.0.0.1:1") as one:
        one.wait_for(lambda s: s["sensing"]["alive"])
        sensing = one.status()["sensing"]["pid"]
        one.process.send_signal(signal.SIGSTOP)
        os.kill(sensing, signal.SIGSTOP)  # it cannot answer STOP: the agent waits
        one.process.send_signal(signal.SIGCONT)
        one.process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            one.process.wait(0.5)
        began_s = time.monotonic()
        assert one.end(number) == -number
        assert time.monotonic() - began_s < 2
        os.kill(sensing, signal.SIGCONT)  # and sees that the agent is gone
        deadline_s = time.monotonic() + 10
        while Path(f"/proc/{sensing}").exists() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert not Path(f"/proc/{sensing}").exists()
